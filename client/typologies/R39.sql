-- own: benefits and what follows them are entries of this customer's own statement
WITH benefit AS (
    SELECT unit, age, sum(amount) AS amount
    FROM entry
    WHERE
        direction = 'in' AND age < 90
        AND (party_type = 'gov' OR coalesce(memo, '') IN ('benefit', 'pension'))
    GROUP BY ALL
),
followed AS (
    SELECT b.unit, b.age, b.amount, least(b.amount, coalesce(sum(o.amount), 0)) AS moved
    FROM benefit AS b
    LEFT JOIN entry AS o
        ON o.unit = b.unit AND o.leaves AND o.age BETWEEN b.age - 1 AND b.age
    GROUP BY b.unit, b.age, b.amount
),
income AS (
    SELECT unit, sum(amount) AS amount
    FROM entry
    WHERE direction = 'in' AND age < 90
    GROUP BY unit
)
SELECT
    f.unit,
    sum(f.moved) / sum(f.amount) AS R39,
    (sum(f.amount) - sum(f.moved)) / max(i.amount) AS R39_kept
FROM followed AS f
JOIN income AS i USING (unit)
GROUP BY f.unit
HAVING sum(f.amount) > 0
