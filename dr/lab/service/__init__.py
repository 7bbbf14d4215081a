"""The prediction service: ``python -m dr.lab.service``, HTTP on loopback against whatever DATABASE_URL names.

It reads its environment:

    DATABASE_URL         the database, as libpq understands it; PGPASSWORD, PGPASSFILE, PGSSLROOTCERT, ... apply
    HOST, PORT           where it listens (127.0.0.1, 8000)
    MODEL_DIR            the directory of model artifacts
    MODEL_URL            the model server that predicts instead, http://HOST:PORT; MODEL_DIR is not needed then
    SERVED_AS            further hosts by which it may be asked, separated by commas
    DR_LAB_HOSTS         a file like /etc/hosts, for names of a cluster that has no DNS
    API_TOKEN            what a POST has to show as "Authorization: Bearer TOKEN"; empty: any is answered
    DR_SERVICE_DELAY_MS  the lab's fault: makes every prediction that much slower (0)
    DR_SERVICE_STUBBORN  the lab's sabotage: 1 keeps a connection that broke or fell silent, for every request (0)
"""
