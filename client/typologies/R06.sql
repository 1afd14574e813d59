-- own: this customer's entries alone
WITH monthly AS (
    SELECT unit, month, count(*) AS deposits
    FROM entry
    WHERE cash_in AND NOT holder AND age < 90
    GROUP BY ALL
)
SELECT unit, max(deposits) AS R06
FROM monthly
GROUP BY unit
