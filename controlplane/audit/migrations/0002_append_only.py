"""The audit can only grow: entries are never changed (but for being sealed once), deleted or truncated.

Each insert also holds an advisory lock, shared, until its transaction ends, so that the sealer, who takes it alone,
never passes over an entry whose transaction commits later (controlplane/audit/seal.py: TURN).
"""

from django.db import migrations

TURN = 0x726F6C6C

FORWARD = f"""
CREATE FUNCTION audit_take_turn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared({TURN});
    RETURN NULL;
END $$;

CREATE FUNCTION audit_refuse_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF num_nonnulls(NEW.sequence, NEW.previous, NEW.digest) > 0 THEN
        RAISE EXCEPTION 'audit entries are sealed by the sealer only' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.sequence IS NULL AND num_nulls(NEW.sequence, NEW.previous, NEW.digest) = 0
        AND to_jsonb(OLD) - ARRAY['sequence', 'previous', 'digest']
          = to_jsonb(NEW) - ARRAY['sequence', 'previous', 'digest']
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit entries can not be changed' USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION audit_refuse_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries can not be removed' USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER audit_turn BEFORE INSERT ON audit_auditentry FOR EACH STATEMENT EXECUTE FUNCTION audit_take_turn();
CREATE TRIGGER audit_unsealed BEFORE INSERT ON audit_auditentry FOR EACH ROW EXECUTE FUNCTION audit_refuse_sealed();
CREATE TRIGGER audit_no_change BEFORE UPDATE ON audit_auditentry FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit_auditentry FOR EACH ROW EXECUTE FUNCTION audit_refuse_removal();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_removal();
"""

BACKWARD = """
DROP TRIGGER audit_no_truncate ON audit_auditentry;
DROP TRIGGER audit_no_delete ON audit_auditentry;
DROP TRIGGER audit_no_change ON audit_auditentry;
DROP TRIGGER audit_unsealed ON audit_auditentry;
DROP TRIGGER audit_turn ON audit_auditentry;
DROP FUNCTION audit_refuse_removal();
DROP FUNCTION audit_refuse_change();
DROP FUNCTION audit_refuse_sealed();
DROP FUNCTION audit_take_turn();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_tables")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
