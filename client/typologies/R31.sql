-- own: this customer's entries alone
WITH fuelled AS (
    SELECT DISTINCT unit, place
    FROM entry
    WHERE spend = 'fuel' AND place IS NOT NULL AND age < 90
),
monthly AS (
    SELECT e.unit, e.month, count(DISTINCT e.place) AS cities
    FROM entry AS e
    ANTI JOIN fuelled AS f ON f.unit = e.unit AND f.place = e.place
    WHERE e.place IS NOT NULL AND e.age < 90
    GROUP BY ALL
)
SELECT unit, max(cities) AS R31
FROM monthly
GROUP BY unit
