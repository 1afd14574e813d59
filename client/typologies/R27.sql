-- own: payees are keys on this customer's statement; their accounts are not looked at
WITH daily AS (
    SELECT
        unit,
        age,
        direction,
        CASE WHEN direction = 'out' THEN party END AS paid_to,
        count(*) AS wages
    FROM entry
    WHERE channel = 'PAYROLL' AND age < 90 AND (direction = 'in' OR party IS NOT NULL)
    GROUP BY ALL
)
SELECT unit, max(wages) AS R27
FROM daily
GROUP BY unit
