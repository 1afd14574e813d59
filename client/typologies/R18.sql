-- own: this customer's entries and declared band; a public constant stands for the band
WITH other AS (
    SELECT
        unit,
        coalesce(sum(amount) FILTER (
            NOT regular_income AND coalesce(memo, '') NOT IN ('refund', 'loan')
        ), 0) AS came,
        coalesce(max(amount) FILTER (
            NOT regular_income AND coalesce(memo, '') NOT IN ('refund', 'loan')
        ), 0) AS largest
    FROM entry
    WHERE direction = 'in' AND age < 90
    GROUP BY unit
)
SELECT c.unit, coalesce(o.came - o.largest, 0) * 365 / 90 / c.income AS R18
FROM customer AS c
LEFT JOIN other AS o USING (unit)
WHERE c.income IS NOT NULL
