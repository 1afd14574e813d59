-- What every indicator reads, made once from canonical records.
--
-- Input:  transactions, accounts, customers (canonical); $as_of: a public date.
-- Output: entry, account, customer, and what several indicators share: sender, busiest, flow.
--
-- Everything is `own` (docs/design.md, "The unit"): each row comes from one customer's records,
-- every aggregate below groups by the customer, and no join goes from one to another. `unit`
-- is a customer's place in this extract, a handle for joins and nothing else.
--
-- Amounts are whole minor units, so sums are exact in any order and threads change no bit.
-- age_band, region and contact_key are not here: no indicator can read them (harm rule 4).
CREATE TABLE customer AS
SELECT
    CAST(row_number() OVER (ORDER BY customer_id) - 1 AS INTEGER) AS unit,
    customer_id,
    kind,
    segment,
    occupation_code AS occupation,
    -- the middle of the declared band, minor units a year: public constants
    CASE declared_income_band
        WHEN '0-10' THEN 500000 WHEN '10-25' THEN 1750000 WHEN '25-50' THEN 3750000
        WHEN '50-100' THEN 7500000 WHEN '100-250' THEN 17500000 WHEN '250+' THEN 25000000
    END AS income,
    -- the least of the declared band
    CASE employee_band
        WHEN '0' THEN 0 WHEN '1-4' THEN 1 WHEN '5-9' THEN 5
        WHEN '10-19' THEN 10 WHEN '20-49' THEN 20 WHEN '50+' THEN 50
    END AS employees,
    naics,
    onboarding_channel
FROM customers;

CREATE TABLE account AS
SELECT
    c.unit,
    a.account_id AS account,
    date_diff('day', a.opened, CAST($as_of AS DATE)) AS opened_age,
    a.home_city,
    a.home_region,
    a.country,
    a.signatory_count,
    a.poa_count
FROM accounts AS a
JOIN customer AS c USING (customer_id);

CREATE TABLE entry AS
WITH local AS (
    SELECT
        *,
        ts_utc + to_minutes(coalesce(tz_offset_min, 0)) AS happened
    FROM transactions
),
dated AS (
    SELECT
        *,
        date_diff('day', CAST(happened AS DATE), CAST($as_of AS DATE)) AS age
    FROM local
),
-- what was taken back later is still there: no day's numbers hang on days after it
taken_back AS (
    SELECT DISTINCT account_id, reversal_of AS txn_id
    FROM dated
    WHERE reversal_of IS NOT NULL AND age BETWEEN 0 AND 269
)
SELECT
    a.unit,
    a.account,
    d.happened AS moment,
    date_diff('minute', TIMESTAMP '1970-01-01 00:00:00', d.happened) AS minute,
    CAST(d.age AS SMALLINT) AS age,                    -- whole days before the as-of date
    CAST(d.age // 30 AS SMALLINT) AS month,            -- 0: the last thirty days
    hour(d.happened) >= 22 OR hour(d.happened) < 6 AS night,
    d.direction,
    d.channel,
    d.amount_minor AS amount,
    d.currency,
    d.mcc,
    d.merchant_key AS merchant,
    d.merchant_city,
    d.merchant_country,
    d.counterparty_key AS party,
    coalesce(d.counterparty_type, 'unknown') AS party_type,
    d.counterparty_org AS party_org,
    d.counterparty_country AS party_country,
    d.memo_category AS memo,
    d.terminal_city,
    coalesce(d.terminal_city, d.merchant_city) AS place,
    d.merchant_city = a.home_city AS at_home,
    d.counterparty_country <> a.country AS abroad,
    d.device_key AS device,
    d.conductor_is_holder AS holder,
    d.ticket_count AS tickets,
    d.branch_items,
    d.direction = 'in' AND d.channel = 'P2P' AS p2p_in,
    d.direction = 'in' AND d.channel IN ('CASH_DEP', 'ATM_DEP') AS cash_in,
    d.direction = 'out' AND d.channel IN ('CASH_WD', 'ATM_WD') AS cash_out,
    -- wages and benefits, which everybody may spend at once, are not among what arrives
    d.direction = 'in'
        AND d.channel IN ('P2P', 'CASH_DEP', 'ATM_DEP', 'WIRE', 'CHEQUE', 'VASP_IN', 'MSB')
        AS arrives,
    d.direction = 'out' AND d.channel IN (
        'ATM_WD', 'CASH_WD', 'PREPAID_LOAD', 'VASP_OUT', 'P2P', 'WIRE', 'MSB'
    ) AS leaves,
    d.direction = 'in' AND (
        d.channel = 'PAYROLL' OR coalesce(d.counterparty_type, '') = 'gov'
        OR coalesce(d.memo_category, '') IN ('salary', 'benefit', 'pension')
    ) AS regular_income,
    coalesce(d.counterparty_type, '') <> 'gov'
        AND (coalesce(d.mcc, '') = '7361' OR coalesce(d.memo_category, '') = 'agency_fee')
        AS agency,
    CASE
        WHEN d.direction = 'in' THEN NULL
        WHEN d.memo_category = 'ad_classified' OR d.mcc IN ('7311', '5816', '7273') THEN 'ads'
        WHEN d.channel = 'PREPAID_LOAD' OR d.mcc IN ('6540', '5947') THEN 'prepaid'
        WHEN d.mcc = '7011' OR d.mcc BETWEEN '3501' AND '3999' THEN 'lodging'
        WHEN d.mcc IN ('4511', '4112', '4131') OR d.mcc BETWEEN '3000' AND '3299' THEN 'distance'
        WHEN d.mcc IN ('4121', '7512') THEN 'ride'
        WHEN d.mcc IN ('5814', '5499') THEN 'quick_food'
        WHEN d.mcc IN ('5912', '5977', '7230', '5621', '5651') THEN 'care'
        WHEN d.mcc = '4814' THEN 'phone'
        WHEN d.mcc IN ('5541', '5542') THEN 'fuel'
        WHEN d.mcc IN ('5944', '5094') THEN 'luxury'
        WHEN d.mcc = '5411' THEN 'grocery'
        WHEN d.mcc = '6513' OR d.memo_category = 'rent' THEN 'rent'
        WHEN d.mcc = '4900' OR d.memo_category = 'utilities' THEN 'utilities'
        WHEN d.mcc IN ('8011', '8062') THEN 'health'
        WHEN d.mcc = '8220' OR d.memo_category = 'tuition' THEN 'tuition'
        WHEN d.mcc = '9311' OR d.memo_category = 'tax' THEN 'tax'
        WHEN d.mcc = '5968' OR d.memo_category = 'subscription' THEN 'subscription'
        WHEN d.memo_category = 'insurance' THEN 'insurance'
    END AS spend
FROM dated AS d
JOIN account AS a ON a.account = d.account_id
ANTI JOIN taken_back AS b ON b.account_id = d.account_id AND b.txn_id = d.txn_id
WHERE
    d.age BETWEEN 0 AND 269         -- client/typologies/windows.py reads no other days
    AND NOT coalesce(d.is_attempted, false) AND d.reversal_of IS NULL;

-- People who sent money in the last ninety days and were never paid by this customer: who
-- shares a rent pays in both directions.
CREATE VIEW sender AS
WITH paid AS (
    SELECT DISTINCT unit, party
    FROM entry
    WHERE direction = 'out' AND party IS NOT NULL AND age < 90
)
SELECT e.unit, e.account, e.party, e.month, count(*) AS entries
FROM entry AS e
ANTI JOIN paid AS p ON p.unit = e.unit AND p.party = e.party
WHERE e.p2p_in AND e.party IS NOT NULL AND e.age < 90
GROUP BY ALL;

-- How many of them in the busiest thirty days.
CREATE VIEW busiest AS
WITH monthly AS (
    SELECT unit, month, count(DISTINCT party) AS senders
    FROM sender
    GROUP BY ALL
)
SELECT unit, max(senders) AS senders
FROM monthly
GROUP BY unit;

-- Money that came from people, in cash or by wire in the last ninety days, and how much of
-- it left on the same or the next day.
CREATE VIEW flow AS
WITH daily AS (
    SELECT
        unit,
        age,
        coalesce(sum(amount) FILTER (arrives), 0) AS came,
        coalesce(sum(amount) FILTER (leaves), 0) AS went
    FROM entry
    WHERE age < 90 AND (arrives OR leaves)
    GROUP BY ALL
),
followed AS (
    SELECT
        unit,
        came,
        least(came, sum(went) OVER (
            PARTITION BY unit ORDER BY -age RANGE BETWEEN CURRENT ROW AND 1 FOLLOWING
        )) AS moved
    FROM daily
)
SELECT unit, sum(came) AS came, sum(moved) AS moved
FROM followed
GROUP BY unit
HAVING sum(came) > 0;
