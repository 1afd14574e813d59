-- own: this customer's entries alone
WITH totals AS (
    SELECT
        unit,
        sum(amount) FILTER (direction = 'in') AS came,
        coalesce(sum(amount) FILTER (direction = 'out'), 0) AS went
    FROM entry
    WHERE age < 90
    GROUP BY unit
),
step AS (
    -- the nearest entry in, above and below, is what one look at sorted amounts finds
    SELECT o.unit, o.amount, min(abs(i.amount - o.amount)) AS difference
    FROM (SELECT DISTINCT unit, age, amount FROM entry WHERE leaves AND age < 90) AS o
    JOIN (SELECT DISTINCT unit, age, amount FROM entry WHERE arrives AND age < 110) AS i
        ON i.unit = o.unit AND i.age BETWEEN o.age AND o.age + 20
    GROUP BY o.unit, o.amount, o.age
),
likeness AS (
    SELECT unit, min(difference / nullif(amount, 0)) AS likeness
    FROM step
    GROUP BY unit
)
SELECT
    t.unit,
    CASE WHEN f.came >= $least THEN f.moved / f.came END AS R04,
    CASE WHEN t.came > 0 THEN greatest(-1, 1 - t.went / t.came) END AS R04_retention,
    least(1, n.likeness) AS R04_likeness
FROM totals AS t
LEFT JOIN flow AS f USING (unit)
LEFT JOIN likeness AS n USING (unit)
