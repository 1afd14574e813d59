-- own: payees are keys on this customer's statement; their accounts are not looked at
WITH payee AS (
    SELECT unit, party, sum(amount) AS paid, count(*) AS payments
    FROM entry
    WHERE direction = 'out' AND channel IN ('P2P', 'WIRE') AND party IS NOT NULL AND age < 90
    GROUP BY ALL
    HAVING count(*) >= 3
),
most AS (
    SELECT unit, max(paid) AS paid, max(payments) AS payments
    FROM payee
    GROUP BY unit
),
total AS (
    SELECT unit, sum(amount) AS went
    FROM entry
    WHERE direction = 'out' AND age < 90
    GROUP BY unit
    HAVING sum(amount) >= $least
)
SELECT
    t.unit,
    coalesce(m.paid, 0) / t.went AS R21,
    coalesce(m.payments, 0) AS R21_payments
FROM total AS t
LEFT JOIN most AS m USING (unit)
