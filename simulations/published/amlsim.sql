-- Account features of the AMLSim sample simulations, one row per account.
--
-- Input:  account(unit, institution, label, init_balance)
--         statement(unit, credit, counterparty, cents, step): each account's own entries.
-- Output: one SELECT, ordered by institution and unit.
--
-- Every feature is `own` (docs/design.md, "The unit"): every aggregate below groups by the
-- account, every window is partitioned by it, and no join goes from one account to another.
-- A counterparty is a name on the account's own statement; that account's entries are not
-- looked at. Delete one account with its statement and all other rows stay as they are.
--
-- Amounts are whole cents and times whole steps, so sums are exact in any order.
-- Ids, fraudStep and row order are no features: ids repeat over simulations, fraudStep is
-- the label, and order says nothing that a bank would know.
WITH
side AS (
    SELECT
        unit,
        -- own: entries on this statement, by direction
        count(*) FILTER (credit) AS in_count,
        count(*) FILTER (NOT credit) AS out_count,
        -- own: totals of those entries
        sum(cents) FILTER (credit) AS in_cents,
        sum(cents) FILTER (NOT credit) AS out_cents,
        -- own: their extremes
        max(cents) FILTER (credit) AS in_most,
        max(cents) FILTER (NOT credit) AS out_most,
        min(cents) FILTER (credit) AS in_least,
        min(cents) FILTER (NOT credit) AS out_least,
        -- own: different names and amounts on this statement
        count(DISTINCT counterparty) FILTER (credit) AS in_parties,
        count(DISTINCT counterparty) FILTER (NOT credit) AS out_parties,
        count(DISTINCT counterparty) AS parties,
        count(DISTINCT cents) FILTER (credit) AS in_amounts,
        count(DISTINCT cents) FILTER (NOT credit) AS out_amounts,
        -- own: first and last entry
        min(step) AS first_step,
        max(step) AS last_step,
        -- own: the months (of thirty steps, from 2017-01 on) in which it was credited
        string_agg(DISTINCT strftime(DATE '2017-01-01' + to_months((step // 30)::INTEGER), '%Y-%m'), ';'
            ORDER BY strftime(DATE '2017-01-01' + to_months((step // 30)::INTEGER), '%Y-%m'))
            FILTER (credit) AS in_months
    FROM statement
    GROUP BY unit
),
busy AS (
    -- own: entries of this statement in the ten steps up to and including each entry's step
    SELECT
        unit,
        credit,
        count(*) OVER (
            PARTITION BY unit, credit ORDER BY step RANGE BETWEEN 9 PRECEDING AND CURRENT ROW
        ) AS entries
    FROM statement
),
burst AS (
    SELECT
        unit,
        max(entries) FILTER (credit) AS in_burst,
        max(entries) FILTER (NOT credit) AS out_burst
    FROM busy
    GROUP BY unit
),
gap AS (
    -- own: steps between neighbouring entries of this statement, by direction
    SELECT
        unit,
        credit,
        step - lag(step) OVER (PARTITION BY unit, credit ORDER BY step) AS steps
    FROM statement
),
pause AS (
    SELECT
        unit,
        min(steps) FILTER (credit) AS in_gap,
        min(steps) FILTER (NOT credit) AS out_gap
    FROM gap
    GROUP BY unit
),
onward AS (
    -- own: each credit with the debits of the same statement in the twenty steps after it
    SELECT
        c.unit,
        c.cents,
        min(d.step - c.step) AS wait,
        min(abs(d.cents - c.cents)) AS difference
    FROM statement AS c
    LEFT JOIN statement AS d
        ON d.unit = c.unit AND NOT d.credit AND d.step BETWEEN c.step AND c.step + 20
    WHERE c.credit
    GROUP BY c.unit, c.counterparty, c.cents, c.step
),
passing AS (
    SELECT
        unit,
        -- own: share of credits that a debit of this statement follows within five steps
        count(*) FILTER (wait <= 5) / count(*) AS quick_share,
        -- own: how nearly a debit repeats an earlier credit, as a share of the credit
        min(difference / nullif(cents, 0)) AS closest_match
    FROM onward
    GROUP BY unit
)
SELECT
    a.unit,
    a.institution,
    a.label,
    a.init_balance,                                                 -- own: the account's record
    coalesce(s.in_count, 0) AS in_count,                            -- own: counts its entries
    coalesce(s.out_count, 0) AS out_count,                          -- own: counts its entries
    coalesce(s.in_cents, 0) / 100 AS in_sum,                        -- own: adds its entries
    coalesce(s.out_cents, 0) / 100 AS out_sum,                      -- own: adds its entries
    s.in_cents / s.in_count / 100 AS in_mean,                       -- own: its sum by its count
    s.out_cents / s.out_count / 100 AS out_mean,                    -- own: its sum by its count
    s.in_most / 100 AS in_max,                                      -- own: its largest credit
    s.out_most / 100 AS out_max,                                    -- own: its largest debit
    (s.in_most - s.in_least) / 100 AS in_spread,                    -- own: between its credits
    (s.out_most - s.out_least) / 100 AS out_spread,                 -- own: between its debits
    coalesce(s.in_parties, 0) AS in_parties,                        -- own: names on its statement
    coalesce(s.out_parties, 0) AS out_parties,                      -- own: names on its statement
    s.in_parties + s.out_parties - s.parties AS mutual_parties,     -- own: names on both sides
    1 - s.in_parties / s.in_count AS in_repeat,                     -- own: repeated senders
    1 - s.out_parties / s.out_count AS out_repeat,                  -- own: repeated receivers
    1 - s.in_amounts / s.in_count AS in_same_amount,                -- own: repeated credits
    1 - s.out_amounts / s.out_count AS out_same_amount,             -- own: repeated debits
    b.in_burst,                                                     -- own: its busiest ten steps
    b.out_burst,                                                    -- own: its busiest ten steps
    p.in_gap,                                                       -- own: between its credits
    p.out_gap,                                                      -- own: between its debits
    s.last_step - s.first_step AS active_steps,                     -- own: its first to last entry
    coalesce(s.in_cents, 0)
        / nullif(coalesce(s.in_cents, 0) + coalesce(s.out_cents, 0), 0) AS in_share,  -- own: both sums
    o.quick_share,                                                  -- own: its credits, its debits
    o.closest_match,                                                -- own: its credits, its debits
    s.in_months                                                     -- own: dates of its credits
FROM account AS a
LEFT JOIN side AS s USING (unit)
LEFT JOIN burst AS b USING (unit)
LEFT JOIN pause AS p USING (unit)
LEFT JOIN passing AS o USING (unit)
ORDER BY a.institution, a.unit
