-- Accounts of the test servers. Run once, without a binlog, when the template data directory is made. Comments end no statement:
-- the server reads this file itself, a statement a line.
CREATE USER sluice@'%' IDENTIFIED BY 'sluice-secret';
GRANT REPLICATION CLIENT, PROCESS, CONNECTION_ADMIN ON *.* TO sluice@'%';
CREATE USER consumer@'%' IDENTIFIED BY 'consumer-secret';
GRANT REPLICATION CLIENT, REPLICATION_SLAVE_ADMIN ON *.* TO consumer@'%';
CREATE USER repl@'%' IDENTIFIED BY 'repl-secret';
GRANT REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO repl@'%';
CREATE USER dm@'%' IDENTIFIED BY 'dm-secret';
GRANT SELECT, RELOAD, REPLICATION CLIENT, REPLICATION SLAVE ON *.* TO dm@'%';
CREATE DATABASE test;
CREATE USER app@'%' IDENTIFIED BY 'app-secret';
GRANT ALL ON test.* TO app@'%';
CREATE USER writer@'%' IDENTIFIED BY 'writer-secret';
GRANT ALL ON test.* TO writer@'%';
SHUTDOWN;
