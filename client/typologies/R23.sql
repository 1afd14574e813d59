-- own: this customer's entries alone
WITH price AS (
    SELECT unit, amount, count(*) AS times
    FROM entry
    WHERE p2p_in AND age < 90
    GROUP BY ALL
),
ranked AS (
    SELECT
        unit,
        amount,
        times,
        row_number() OVER (PARTITION BY unit ORDER BY times DESC, amount) AS place
    FROM price
)
SELECT
    unit,
    coalesce(sum(times) FILTER (amount % $even = 0), 0) / sum(times) AS R23,
    sum(times) FILTER (place <= 3) / sum(times) AS R23_prices
FROM ranked
GROUP BY unit
HAVING sum(times) >= $least
