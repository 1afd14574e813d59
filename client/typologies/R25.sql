-- own: this business's entries and declared band; a public constant stands for a wage
WITH paid AS (
    SELECT
        unit,
        coalesce(sum(amount) FILTER (direction = 'in'), 0) AS revenue,
        coalesce(sum(amount) FILTER (
            direction = 'out' AND (
                channel = 'PAYROLL' OR coalesce(memo, '') = 'salary'
                OR (channel = 'ACH' AND party_type = 'person')
            )
        ), 0) AS wages
    FROM entry
    WHERE age < 90
    GROUP BY unit
)
SELECT
    p.unit,
    CASE WHEN c.employees > 0 THEN 1 - least(1, p.wages / (c.employees * 3 * $wage)) END AS R25,
    p.wages / p.revenue AS R25_ratio
FROM paid AS p
JOIN customer AS c USING (unit)
WHERE c.kind = 'business' AND p.revenue >= $least
