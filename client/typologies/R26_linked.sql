-- linked: looks at other customers; for local scoring only, it never leaves
WITH paid AS (
    SELECT DISTINCT unit, party, age
    FROM entry
    WHERE direction = 'in' AND channel = 'PAYROLL' AND party IS NOT NULL AND age < 97
),
drawn AS (
    SELECT DISTINCT p.unit, p.party, p.age, e.age AS drawn_age, e.terminal_city
    FROM paid AS p
    JOIN entry AS e ON e.unit = p.unit AND e.cash_out AND e.terminal_city IS NOT NULL
        AND e.age BETWEEN p.age - $minutes // 1440 AND p.age
),
together AS (
    SELECT party, age, drawn_age, terminal_city, count(*) AS people
    FROM drawn
    GROUP BY ALL
)
SELECT d.unit, max(t.people) AS R26_linked
FROM drawn AS d
JOIN together AS t
    ON t.party = d.party AND t.age = d.age AND t.drawn_age = d.drawn_age
    AND t.terminal_city = d.terminal_city
GROUP BY d.unit
