# SPDX-License-Identifier: Apache-2.0
fleetflash_unit_test(journal_test SOURCES journal_test.c LIBS journal)
fleetflash_unit_test(journal_history_test SOURCES journal_history_test.c LIBS journal)
