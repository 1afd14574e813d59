-- own: every purchase looks at what this customer did before it
WITH step AS (
    SELECT
        unit,
        moment,
        minute,
        coalesce(
            direction = 'out' AND channel = 'VASP_OUT' AND amount <= $small AND age < 90, false
        ) AS bought,
        coalesce((cash_in OR spend = 'prepaid') AND age < 92, false) AS funds
    FROM entry
),
looked AS (
    SELECT
        unit,
        bought,
        minute,
        max(CASE WHEN funds THEN minute END) OVER (PARTITION BY unit ORDER BY moment) AS funded
    FROM step
    WHERE bought OR funds
)
SELECT
    unit,
    count(*) FILTER (minute - funded <= 1440) AS R14,
    count(*) AS R14_purchases
FROM looked
WHERE bought
GROUP BY unit
