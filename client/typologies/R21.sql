-- own: payees and senders are keys on this customer's statement; their accounts are not looked at
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
    SELECT
        unit,
        coalesce(sum(amount) FILTER (direction = 'out'), 0) AS went,
        coalesce(sum(amount) FILTER (p2p_in OR cash_in), 0) AS came
    FROM entry
    WHERE age < 90
    GROUP BY unit
),
passed AS (
    SELECT
        t.unit,
        t.went,
        coalesce(m.paid, 0) AS paid,
        coalesce(m.payments, 0) AS payments,
        coalesce(b.senders, 0) AS senders,
        CASE WHEN t.came > 0 THEN least(1, coalesce(m.paid, 0) / t.came) ELSE 0 END AS on_to_one
    FROM total AS t
    LEFT JOIN most AS m USING (unit)
    LEFT JOIN busiest AS b USING (unit)
)
SELECT
    unit,
    CASE WHEN went >= $least THEN paid / went END AS R21,
    CASE WHEN went >= $least THEN payments ELSE 0 END AS R21_payments,
    senders * on_to_one AS R21_drain,
    senders * (1 - on_to_one) AS R21_kept
FROM passed
