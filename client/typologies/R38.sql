-- own: senders are keys on this customer's statement; their accounts are not looked at
WITH person AS (
    SELECT
        unit,
        party,
        count(*) FILTER (p2p_in) AS came,
        count(*) FILTER (p2p_in) - count(*) FILTER (direction = 'out') AS payments
    FROM entry
    WHERE channel = 'P2P' AND party IS NOT NULL AND age < 90
    GROUP BY ALL
),
ranked AS (
    SELECT
        unit,
        came,
        payments,
        row_number() OVER (PARTITION BY unit ORDER BY payments DESC, party) AS place
    FROM person
)
SELECT
    unit,
    coalesce(greatest(max(payments) FILTER (place = 2), 0), 0) AS R38,
    greatest(max(payments) FILTER (place = 1), 0) AS R38_most,
    CASE
        WHEN sum(came) >= $least
            THEN coalesce(sum(greatest(payments, 0)) FILTER (place <= 2), 0) / sum(came)
    END AS R38_share
FROM ranked
GROUP BY unit
