-- own: this customer's entries alone
WITH weekly AS (
    SELECT unit, age // 7 AS week, count(*) AS meals
    FROM entry
    WHERE spend = 'quick_food' AND amount < $small AND age < 91
    GROUP BY ALL
)
SELECT unit, max(meals) AS R11
FROM weekly
GROUP BY unit
