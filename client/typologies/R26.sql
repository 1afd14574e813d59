-- own: both sides are entries of this customer's own statement
WITH wage AS (
    SELECT unit, party, direction, moment, sum(amount) AS amount
    FROM entry
    WHERE channel = 'PAYROLL' AND party IS NOT NULL AND age < 97
    GROUP BY ALL
),
back AS (
    SELECT
        unit,
        party,
        CASE direction WHEN 'in' THEN 'out' ELSE 'in' END AS direction,
        moment,
        sum(amount) AS amount
    FROM entry
    WHERE channel <> 'PAYROLL' AND party IS NOT NULL AND age < 97
    GROUP BY ALL
),
returned AS (
    SELECT b.unit, b.party, b.direction, w.moment, sum(b.amount) AS amount
    FROM back AS b
    ASOF JOIN wage AS w
        ON w.unit = b.unit AND w.party = b.party AND w.direction = b.direction AND b.moment >= w.moment
    WHERE date_diff('minute', w.moment, b.moment) <= $minutes
    GROUP BY ALL
)
SELECT
    w.unit,
    sum(least(coalesce(r.amount, 0), w.amount)) / sum(w.amount) AS R26
FROM wage AS w
LEFT JOIN returned AS r
    ON r.unit = w.unit AND r.party = w.party AND r.direction = w.direction AND r.moment = w.moment
GROUP BY w.unit
