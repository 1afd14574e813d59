-- own: this customer's entries alone
SELECT
    unit,
    coalesce(sum(amount) FILTER (party_type = 'platform' AND party IS NULL), 0)
        / nullif(sum(amount), 0) AS R30
FROM entry
WHERE direction = 'in' AND age < 90
GROUP BY unit
HAVING count(*) >= $least
