import psycopg, os, redis
def test_x():
    c = psycopg.connect(os.environ["DATABASE_URL"])
    print(c.execute("show synchronous_commit").fetchone(), c.execute("select count(*) from pg_stat_activity").fetchone())
    print(redis.Redis.from_url(os.environ["REDIS_URL"]).ping())
