-- own: this customer's entries alone; no list of countries, no nationality (harm rule 4)
SELECT unit, count(DISTINCT party) AS R29, count(DISTINCT party_country) AS R29_countries
FROM entry
WHERE direction = 'out' AND channel IN ('WIRE', 'MSB') AND abroad AND age < 90
GROUP BY unit
