"""Sweeps: the same simulation at every point of a grid, over several seeds.

    plan        what a sweep is: axes, seeds, records (TOML or keywords)
    points      the grid, and the study that each point runs
    faults      institutions that leave, and late answers, on a simulated clock
    traffic     what a run sends, where sums are added up without messages
    measuring   what comes of one point, as rows
    keeping     each point's rows, whole or not at all; the table of all
    running     all points, on two cores here or as tasks of a Ray cluster
    summary     means and intervals over seeds, and where joining starts to pay
    pictures, page, screen   what people read

Imports federation, engines, report and beside.
"""
