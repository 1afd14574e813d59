-- own: both sides are entries of this customer's own statement
WITH step AS (
    -- what is no wage is looked at as what may come back: in the other direction
    SELECT
        unit,
        party,
        CASE
            WHEN channel = 'PAYROLL' THEN direction
            WHEN direction = 'in' THEN 'out'
            ELSE 'in'
        END AS way,
        channel = 'PAYROLL' AS is_wage,
        moment,
        minute,
        sum(amount) AS amount
    FROM entry
    WHERE party IS NOT NULL AND age < 97
    GROUP BY ALL
),
looked AS (
    SELECT
        unit,
        party,
        way,
        is_wage,
        amount,
        minute,
        moment,
        max(CASE WHEN is_wage THEN moment END)
            OVER (PARTITION BY unit, party, way ORDER BY moment) AS paid_at,
        max(CASE WHEN is_wage THEN minute END)
            OVER (PARTITION BY unit, party, way ORDER BY moment) AS paid_minute
    FROM step
),
returned AS (
    SELECT unit, party, way, paid_at, sum(amount) AS amount
    FROM looked
    WHERE NOT is_wage AND minute - paid_minute <= $minutes
    GROUP BY ALL
)
SELECT
    w.unit,
    sum(least(coalesce(r.amount, 0), w.amount)) / sum(w.amount) AS R26
FROM looked AS w
LEFT JOIN returned AS r
    ON r.unit = w.unit AND r.party = w.party AND r.way = w.way AND r.paid_at = w.moment
WHERE w.is_wage
GROUP BY w.unit
