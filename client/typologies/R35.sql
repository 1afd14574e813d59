-- own: this customer's entries alone
WITH amounts AS (
    SELECT unit, direction, amount, count(*) AS times
    FROM entry
    WHERE channel IN ('P2P', 'WIRE') AND amount > 0
    GROUP BY ALL
),
ranked AS (
    SELECT
        unit,
        direction,
        amount,
        times,
        row_number() OVER (PARTITION BY unit, direction ORDER BY times DESC, amount) AS place
    FROM amounts
),
usual AS (
    SELECT unit, direction, amount, times FROM ranked WHERE place = 1
),
habit AS (
    SELECT
        a.unit,
        a.direction,
        sum(a.times) AS entries,
        max(u.times) / sum(a.times) AS share,
        max(abs(a.amount - u.amount) / greatest(a.amount, u.amount)) AS apart
    FROM amounts AS a
    JOIN usual AS u ON u.unit = a.unit AND u.direction = a.direction
    GROUP BY a.unit, a.direction
)
SELECT
    unit,
    max(share * apart) FILTER (direction = 'out' AND entries >= $least) AS R35,
    max(share) FILTER (direction = 'out') AS R35_usual,
    max(apart) FILTER (direction = 'in') AS R35_in
FROM habit
GROUP BY unit
