-- own: this business's entries alone
SELECT e.unit, count(*) FILTER (e.night) / count(*) AS R24
FROM entry AS e
JOIN customer AS c USING (unit)
WHERE c.kind = 'business' AND e.direction = 'in' AND e.age < 90
    AND (e.cash_in OR e.channel IN ('POS', 'P2P'))
GROUP BY e.unit
HAVING count(*) >= $least
