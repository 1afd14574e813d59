-- own: this customer's entries and declared band; a public constant stands for the band
WITH spent AS (
    SELECT
        unit,
        coalesce(sum(amount) FILTER (spend = 'luxury'), 0) AS luxury,
        coalesce(sum(amount) FILTER (p2p_in OR cash_in), 0) AS given
    FROM entry
    WHERE age < 90
    GROUP BY unit
)
SELECT c.unit, coalesce(least(s.luxury, s.given), 0) * 365 / 90 / c.income AS R34
FROM customer AS c
LEFT JOIN spent AS s USING (unit)
WHERE c.income IS NOT NULL
