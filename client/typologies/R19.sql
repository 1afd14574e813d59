-- own: this customer's entries alone
SELECT
    unit,
    CASE
        WHEN count(*) FILTER (regular_income OR channel = 'ACH') > 0 THEN 0
        ELSE coalesce(sum(amount) FILTER (cash_in), 0) / 300
    END AS R19
FROM entry
WHERE direction = 'in' AND age < 90
GROUP BY unit
