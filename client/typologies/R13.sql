-- own: this customer's entries alone
WITH advert AS (
    SELECT unit, month, amount
    FROM entry
    WHERE spend = 'ads' AND amount <= $small AND age < 90
),
monthly AS (
    SELECT unit, month, count(*) AS adverts
    FROM advert
    GROUP BY ALL
),
repeated AS (
    SELECT unit, 1 - count(DISTINCT amount) / count(*) AS repeats
    FROM advert
    GROUP BY unit
)
SELECT unit, max(adverts) AS R13, repeats AS R13_repeat
FROM monthly
JOIN repeated USING (unit)
GROUP BY unit, repeats
