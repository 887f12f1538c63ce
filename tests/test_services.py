"""The services of tests/services.py do what a test that asks for them relies on."""

import subprocess

from sqlalchemy import create_engine


def test_postgres_keeps_unicode_rows(postgres_url):
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE film (title text)")
        connection.exec_driver_sql("INSERT INTO film VALUES (%s)", ("Amélie",))
        assert connection.exec_driver_sql("SELECT title FROM film").scalar() == "Amélie"
    engine.dispose()


def test_redis_gives_back_what_it_was_given(redis_url):
    import redis

    client = redis.Redis.from_url(redis_url)
    client.set("film", "Amélie")
    assert client.get("film").decode() == "Amélie"
    client.close()


def test_browser_runs_the_script_of_a_page(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<p id=here></p><script>here.textContent = 6 * 7</script>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command = [
        browser,
        *flags,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60
    )
    assert '<p id="here">42</p>' in done.stdout
