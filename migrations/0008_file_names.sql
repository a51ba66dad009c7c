-- A file that comes with a run keeps its name as file systems have it: any characters that print, but those that part a path. Each name
-- that was taken before is taken still; processes of the version before write no others and read these as they read those.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.run_files
  DROP CONSTRAINT run_files_name_check,
  ADD CONSTRAINT run_files_name_check CHECK (
    octet_length(name) BETWEEN 1 AND 255
    AND name !~ '[/\\\u0001-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]'
    AND name NOT IN ('.', '..')
  );

RESET ROLE;
