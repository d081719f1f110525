"""The two statements that a batch costs a department database, and a third where purchases say what was bought.
%(items)s is JSON: one parameter is twice as fast as arrays of columns.
"""

# LATERAL … OFFSET 0 makes the planner take one row by its key at a time, in order. Left to itself it believes that a
# handful of rows has this source, and reads an index from end to end.
LOOK = """
WITH given AS MATERIALIZED (
    SELECT customer_id, (customer_id %% 10)::smallint AS bucket, event_id, refers_to
    FROM jsonb_to_recordset(%(items)s) AS item (customer_id bigint, event_id text, refers_to text)
), live AS MATERIALIZED (
    SELECT found.customer_id
    FROM (SELECT DISTINCT customer_id, bucket FROM given ORDER BY customer_id) AS one, LATERAL
         (SELECT c.customer_id FROM customers c WHERE c.customer_id = one.customer_id AND c.bucket = one.bucket
          OFFSET 0 FOR KEY SHARE) AS found
), purchases AS MATERIALIZED (
    SELECT found.*
    FROM (SELECT DISTINCT customer_id, bucket, refers_to FROM given WHERE refers_to IS NOT NULL
          ORDER BY customer_id, refers_to) AS one, LATERAL
         (SELECT k.customer_id, k.event_id, k.amount, k.occurred_at, k.refunded FROM behaviour_keys k
          WHERE k.customer_id = one.customer_id AND k.bucket = one.bucket AND k.source = %(source)s
            AND k.event_id = one.refers_to AND k.amount IS NOT NULL
          OFFSET 0 FOR UPDATE) AS found
)
SELECT 'live', customer_id, NULL, NULL, NULL::numeric, NULL::timestamptz, NULL::numeric FROM live
UNION ALL
SELECT 'purchase', customer_id, event_id, NULL, amount, occurred_at, refunded FROM purchases
UNION ALL
SELECT 'key', found.*, NULL, NULL, NULL
FROM given, LATERAL
     (SELECT k.customer_id, k.event_id, encode(k.content_hash, 'hex') FROM behaviour_keys k
      WHERE k.customer_id = given.customer_id AND k.bucket = given.bucket AND k.source = %(source)s
        AND k.event_id = given.event_id
      OFFSET 0) AS found
"""

FIGURES = """
    count(*) FILTER (WHERE kind = 'purchase') AS purchase_count,
    COALESCE(sum(amount) FILTER (WHERE kind = 'purchase'), 0) AS purchase_amount,
    count(*) FILTER (WHERE undoes) AS refund_count,
    COALESCE(sum(amount) FILTER (WHERE kind = 'refund'), 0) AS refund_amount,
    count(*) FILTER (WHERE kind = 'interaction') AS interaction_count,
    max(occurred_at) FILTER (WHERE kind = 'purchase') AS last_purchase_at,
    max(occurred_at) FILTER (WHERE kind = 'interaction') AS last_interaction_at
"""
FIGURE_COLUMNS = (
    "purchase_count, purchase_amount, refund_count, refund_amount, interaction_count, "
    "last_purchase_at, last_interaction_at"
)
SUM_FIGURES = """
    sum(purchase_count) AS purchase_count, sum(purchase_amount) AS purchase_amount, sum(refund_count) AS refund_count,
    sum(refund_amount) AS refund_amount, sum(interaction_count) AS interaction_count,
    max(last_purchase_at) AS last_purchase_at, max(last_interaction_at) AS last_interaction_at
"""
ADD_FIGURES = """
    purchase_count = total.purchase_count + excluded.purchase_count,
    purchase_amount = total.purchase_amount + excluded.purchase_amount,
    refund_count = total.refund_count + excluded.refund_count,
    refund_amount = total.refund_amount + excluded.refund_amount,
    interaction_count = total.interaction_count + excluded.interaction_count,
    last_purchase_at = GREATEST(total.last_purchase_at, excluded.last_purchase_at),
    last_interaction_at = GREATEST(total.last_interaction_at, excluded.last_interaction_at)
"""
PURCHASE_DAYS = """
    purchase_days = total.purchase_days + excluded.purchase_days,
    first_purchase_amount = CASE WHEN excluded.first_purchase_day <= COALESCE(total.first_purchase_day, 'infinity')
        THEN excluded.first_purchase_amount ELSE total.first_purchase_amount END,
    first_purchase_day = LEAST(total.first_purchase_day, excluded.first_purchase_day)
"""
# `accepted` is empty unless every key was new. Tables and rows are always written in this order, so that two batches
# that meet wait for each other instead of for ever.
# A day is one with a purchase from now on when its total is, after the batch, what the batch brought: `daily` returns
# the former, `days` has the latter. They meet in a GROUP BY, because a join of what the planner takes for a handful of
# rows would be a nested loop.
WRITE = f"""
WITH given AS MATERIALIZED (
    SELECT item.*, (customer_id %% 10)::smallint AS bucket, (occurred_at AT TIME ZONE %(zone)s)::date AS day
    FROM jsonb_to_recordset(%(items)s) AS item (customer_id bigint, event_id text, content_hash text, kind text,
         channel text, amount numeric(14,2), occurred_at timestamptz, refers_to text, detail text,
         refunded numeric(14,2), undoes boolean)
), keys AS (
    INSERT INTO behaviour_keys (customer_id, bucket, source, event_id, content_hash, amount, occurred_at, refunded)
    SELECT customer_id, bucket, %(source)s, event_id, decode(content_hash, 'hex'),
           CASE kind WHEN 'purchase' THEN amount END, CASE kind WHEN 'purchase' THEN occurred_at END, refunded
    FROM given ORDER BY customer_id, event_id
    ON CONFLICT DO NOTHING RETURNING 1
), accepted AS MATERIALIZED (
    SELECT * FROM given WHERE (SELECT count(*) FROM keys) = %(count)s
), raw AS (
    INSERT INTO behaviours (customer_id, bucket, source, event_id, kind, channel, amount, occurred_at, refers_to,
                            detail, undoes_purchase, received_at)
    SELECT customer_id, bucket, %(source)s, event_id, kind, channel, amount, occurred_at, refers_to,
           detail::jsonb, undoes, %(now)s
    FROM accepted
), days AS MATERIALIZED (
    SELECT customer_id, bucket, day, {FIGURES} FROM accepted GROUP BY customer_id, bucket, day
), daily AS (
    INSERT INTO daily_totals AS total (customer_id, bucket, day, {FIGURE_COLUMNS})
    SELECT customer_id, bucket, day, {FIGURE_COLUMNS} FROM days ORDER BY customer_id, day
    ON CONFLICT (customer_id, bucket, day) DO UPDATE SET {ADD_FIGURES}
    RETURNING customer_id, bucket, day, purchase_count, purchase_amount
), by_day AS (
    SELECT customer_id, bucket, day, {SUM_FIGURES}, max(total_count) AS total_count, max(total_amount) AS total_amount
    FROM (SELECT *, 0 AS total_count, 0::numeric AS total_amount FROM days
          UNION ALL
          SELECT customer_id, bucket, day, 0, 0, 0, 0, 0, NULL, NULL, purchase_count, purchase_amount
          FROM daily) AS both_
    GROUP BY customer_id, bucket, day
), running AS (
    INSERT INTO running_totals AS total (customer_id, bucket, first_day, last_day, {FIGURE_COLUMNS}, purchase_days,
                                         first_purchase_day, first_purchase_amount)
    SELECT customer_id, bucket, min(day), max(day), {SUM_FIGURES},
           count(*) FILTER (WHERE purchase_count > 0 AND purchase_count = total_count),
           min(day) FILTER (WHERE purchase_count > 0),
           COALESCE((array_agg(total_amount ORDER BY day) FILTER (WHERE purchase_count > 0))[1], 0)
    FROM by_day GROUP BY customer_id, bucket ORDER BY customer_id
    ON CONFLICT (customer_id, bucket) DO UPDATE SET {ADD_FIGURES},
        first_day = LEAST(total.first_day, excluded.first_day), last_day = GREATEST(total.last_day, excluded.last_day),
        {PURCHASE_DAYS}
), marks AS (
    INSERT INTO dirty_customers AS marked (customer_id, bucket, mark, last_day)
    SELECT customer_id, bucket, nextval('dirty_marks'), day
    FROM (SELECT customer_id, bucket, max(day) AS day FROM accepted
          GROUP BY customer_id, bucket ORDER BY customer_id) AS one
    ON CONFLICT (customer_id, bucket) DO UPDATE
    SET mark = excluded.mark, last_day = GREATEST(marked.last_day, excluded.last_day), awaits_segments = true
){{refunds}}
SELECT count(*) FROM keys
"""  # noqa: S608 - made of constants
# LOOK has locked these rows, so the insert always finds its conflict: an update that is sure to go by the key.
REFUNDS = """, refunds AS (
    INSERT INTO behaviour_keys (customer_id, bucket, source, event_id, content_hash, refunded)
    SELECT customer_id, customer_id %% 10, %(source)s, event_id, '', refunded
    FROM jsonb_to_recordset(%(purchases)s) AS purchase (customer_id bigint, event_id text, refunded numeric(14,2))
    ON CONFLICT (customer_id, bucket, source, event_id) DO UPDATE SET refunded = excluded.refunded
)"""
WRITE_WITHOUT_REFUNDS, WRITE_WITH_REFUNDS = WRITE.format(refunds=""), WRITE.format(refunds=REFUNDS)
# What was bought, only where a purchase says so. A refund takes nothing away: they have had it once.
ITEMS = """
INSERT INTO customer_items AS had (customer_id, bucket, item_id, name, purchases, last_day)
SELECT customer_id, customer_id %% 10, item_id,
       COALESCE((array_agg(name ORDER BY occurred_at DESC) FILTER (WHERE name <> ''))[1], ''), count(*),
       max((occurred_at AT TIME ZONE %(zone)s)::date)
FROM jsonb_to_recordset(%(bought)s)
     AS bought (customer_id bigint, item_id text, name text, occurred_at timestamptz)
GROUP BY customer_id, item_id ORDER BY customer_id, item_id
ON CONFLICT (customer_id, bucket, item_id) DO UPDATE SET purchases = had.purchases + excluded.purchases,
    name = CASE WHEN excluded.name <> '' AND (had.name = '' OR excluded.last_day >= had.last_day)
        THEN excluded.name ELSE had.name END,
    last_day = GREATEST(had.last_day, excluded.last_day)
"""
