-- own: this customer's entries alone
WITH daily AS (
    SELECT
        unit,
        age,
        count(*) FILTER (amount >= $low AND amount < $threshold) AS below,
        count(*) FILTER (amount >= $threshold) AS above,
        count(*) FILTER (amount < $threshold) AS parts,
        coalesce(sum(amount) FILTER (amount < $threshold), 0) AS together
    FROM entry
    WHERE cash_in AND age < 91
    GROUP BY ALL
),
weekly AS (
    SELECT
        unit,
        age // 7 AS week,
        sum(below) - sum(above) AS excess,
        count(*) FILTER (parts >= 2 AND together >= $threshold) AS split
    FROM daily
    GROUP BY ALL
)
SELECT unit, greatest(0, max(excess)) AS R22, sum(split) AS R22_split
FROM weekly
GROUP BY unit
