-- own: `sender` and `flow` are made of this customer's entries alone
WITH person AS (
    SELECT unit, party, sum(entries) AS entries
    FROM sender
    GROUP BY ALL
),
known AS (
    SELECT unit, count(*) FILTER (entries = 1) / count(*) AS once
    FROM person
    GROUP BY unit
)
SELECT
    b.unit,
    b.senders AS R01,
    k.once AS R01_once_share,
    b.senders * coalesce(f.moved / f.came, 0) AS R01_moved_on
FROM busiest AS b
JOIN known AS k USING (unit)
LEFT JOIN flow AS f USING (unit)
