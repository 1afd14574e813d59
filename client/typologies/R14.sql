-- own: every purchase looks at what this customer did before it
WITH bought AS (
    SELECT unit, moment
    FROM entry
    WHERE direction = 'out' AND channel = 'VASP_OUT' AND amount <= $small AND age < 90
),
funded AS (
    SELECT DISTINCT unit, moment
    FROM entry
    WHERE (cash_in OR spend = 'prepaid') AND age < 92
)
SELECT
    b.unit,
    count(*) FILTER (date_diff('minute', f.moment, b.moment) <= 1440) AS R14,
    count(*) AS R14_purchases
FROM bought AS b
ASOF LEFT JOIN funded AS f ON f.unit = b.unit AND b.moment >= f.moment
GROUP BY b.unit
