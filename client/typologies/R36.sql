-- own: the other side is a key on this customer's statement; its account is not looked at
WITH person AS (
    SELECT
        unit,
        party,
        count(*) FILTER (direction = 'in') AS came,
        count(*) FILTER (direction = 'out') AS went
    FROM entry
    WHERE channel IN ('P2P', 'WIRE') AND party IS NOT NULL
    GROUP BY ALL
)
SELECT
    unit,
    count(*) FILTER (came > 0 AND went > 0) AS R36,
    1 - count(*) FILTER (came > 0) / nullif(sum(came), 0) AS R36_in_again,
    1 - count(*) FILTER (went > 0) / nullif(sum(went), 0) AS R36_out_again
FROM person
GROUP BY unit
