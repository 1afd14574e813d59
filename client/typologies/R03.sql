-- own: this customer's entries now and before
WITH monthly AS (
    SELECT unit, month, count(*) AS entries
    FROM entry
    WHERE night AND (cash_in OR cash_out)
    GROUP BY ALL
)
SELECT
    unit,
    greatest(
        0,
        coalesce(max(entries) FILTER (month < 3), 0)
        - coalesce(sum(entries) FILTER (month >= 3), 0) / 6
    ) AS R03
FROM monthly
GROUP BY unit
