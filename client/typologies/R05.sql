-- own: this customer's entries alone
WITH city AS (
    SELECT
        unit,
        terminal_city,
        coalesce(sum(amount) FILTER (cash_in), 0) AS put_in,
        count(*) FILTER (cash_out) AS taken_out
    FROM entry
    WHERE (cash_in OR cash_out) AND terminal_city IS NOT NULL AND age < 90
    GROUP BY ALL
)
SELECT
    unit,
    count(*) FILTER (put_in > 0 AND taken_out = 0) AS R05,
    coalesce(sum(put_in) FILTER (taken_out = 0), 0) / nullif(sum(put_in), 0) AS R05_share
FROM city
GROUP BY unit
