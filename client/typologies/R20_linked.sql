-- linked: looks at other customers; for local scoring only, it never leaves
WITH used AS (
    SELECT DISTINCT unit, device
    FROM entry
    WHERE device IS NOT NULL AND age < 90
),
shared AS (
    SELECT device, count(*) - 1 AS others
    FROM used
    GROUP BY device
)
SELECT u.unit, max(s.others) AS R20_linked
FROM used AS u
JOIN shared AS s USING (device)
GROUP BY u.unit
