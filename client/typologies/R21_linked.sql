-- linked: looks at other customers; for local scoring only, it never leaves
WITH payee AS (
    SELECT unit, party
    FROM entry
    WHERE direction = 'out' AND channel IN ('P2P', 'WIRE') AND party IS NOT NULL
        AND party_type = 'person' AND age < 90
    GROUP BY ALL
    HAVING count(*) >= 3
),
drawn AS (
    SELECT party, count(*) - 1 AS others
    FROM payee
    GROUP BY party
)
SELECT p.unit, max(d.others) AS R21_linked
FROM payee AS p
JOIN drawn AS d USING (party)
GROUP BY p.unit
