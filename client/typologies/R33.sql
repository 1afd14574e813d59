-- own: this customer's accounts and entries alone
WITH fresh AS (
    SELECT unit, account
    FROM account
    WHERE opened_age BETWEEN 0 AND 90
),
monthly AS (
    SELECT s.unit, s.month, count(DISTINCT s.party) AS senders
    FROM sender AS s
    JOIN fresh AS n ON n.unit = s.unit AND n.account = s.account
    GROUP BY ALL
)
SELECT m.unit, max(m.senders) * max(coalesce(f.moved / f.came, 0)) AS R33
FROM monthly AS m
LEFT JOIN flow AS f USING (unit)
GROUP BY m.unit
