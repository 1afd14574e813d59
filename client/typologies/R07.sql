-- own: this customer's entries alone
WITH stay AS (
    SELECT unit, merchant_city, age // 14 AS fortnight, age // 30 AS month
    FROM entry
    WHERE spend = 'lodging' AND age < 84
),
fortnightly AS (
    SELECT unit, fortnight, count(DISTINCT merchant_city) AS cities
    FROM stay
    GROUP BY ALL
),
monthly AS (
    SELECT unit, month, count(*) AS payments
    FROM stay
    GROUP BY ALL
)
SELECT unit, max(cities) AS R07, most_payments AS R07_payments
FROM fortnightly
JOIN (SELECT unit, max(payments) AS most_payments FROM monthly GROUP BY unit) AS m USING (unit)
GROUP BY unit, most_payments
