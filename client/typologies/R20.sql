-- own: this customer's entries alone
WITH monthly AS (
    SELECT unit, month, count(DISTINCT device) AS devices
    FROM entry
    WHERE device IS NOT NULL AND age < 90
    GROUP BY ALL
)
SELECT unit, max(devices) AS R20
FROM monthly
GROUP BY unit
