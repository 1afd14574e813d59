-- own: this customer's entries alone
WITH monthly AS (
    SELECT
        unit,
        month,
        count(*) FILTER (spend = 'care') AS purchases,
        count(*) FILTER (spend = 'lodging') AS nights
    FROM entry
    WHERE spend IN ('care', 'lodging') AND age < 90
    GROUP BY ALL
)
SELECT unit, max(least(purchases, 2 * nights)) AS R12, max(purchases) AS R12_purchases
FROM monthly
GROUP BY unit
