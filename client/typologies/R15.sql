-- own: this customer's entries alone
WITH monthly AS (
    SELECT
        unit,
        month,
        count(DISTINCT age) FILTER (spend = 'prepaid') AS days,
        coalesce(sum(amount) FILTER (spend = 'prepaid'), 0) AS loaded,
        sum(amount) AS went
    FROM entry
    WHERE direction = 'out' AND age < 90
    GROUP BY ALL
)
SELECT unit, max(days) AS R15, sum(loaded) / nullif(sum(went), 0) AS R15_share
FROM monthly
GROUP BY unit
