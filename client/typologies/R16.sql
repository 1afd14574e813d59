-- own: this customer's entries alone
SELECT unit, count(DISTINCT party) AS R16, count(*) AS R16_payments
FROM entry
WHERE spend = 'phone' AND age < 90
GROUP BY unit
