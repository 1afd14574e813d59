-- own: this customer's entries alone
SELECT unit, count(*) AS R28, sum(amount) / 100 AS R28_amount
FROM entry
WHERE agency AND age < 90
GROUP BY unit
