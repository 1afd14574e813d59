-- own: this customer's entries alone
WITH weekly AS (
    SELECT unit, age // 7 AS week, count(*) AS rides
    FROM entry
    WHERE spend = 'ride' AND age < 91
    GROUP BY ALL
)
SELECT unit, max(rides) - sum(rides) / 13 AS R10
FROM weekly
GROUP BY unit
