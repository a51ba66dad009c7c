#!/usr/bin/env node
/** `npx spendlock …`: the operators' command line, on a machine where nothing may be installed yet. */
'use strict';
process.argv.splice(2, 0, 'cli');
require('../scripts/bootstrap.cjs');
