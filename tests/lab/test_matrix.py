"""The 60 faults of the matrix, and the tests that each has: whole processes here in the lab
(`test_fault_NN_...`), one module on a virtual clock elsewhere, and the simulation's seeds, which play a fault
by name (`sim:NAME`).

Commits of the ledger, the store's faults, two nodes and the line to the SMSC each have a file of their own.
All stand on `site.py` (processes, an app), `proxy.py` (networks) and `lab.py` (a store, nodes, the audit).
`excused` says why a fault needs no test.

     1 lab/test_line::test_fault_01_reset_in_the_middle_of_a_pdu sim:cut_reset
     2 lab/test_line::test_fault_02_the_smsc_closes_in_full_flight sim:cut_close
     3 engine/session/test_session::test_the_smscs_unbind_waits_for_answers_under_way sim:cut_unbind
     4 lab/test_line::test_fault_04_a_half_open_connection sim:silence sim:freeze
     5 lab/test_line::test_fault_05_enquire_link_is_not_answered_but_submits_are
     6 lab/test_line::test_fault_06_an_enquire_link_answered_with_an_error
     7 lab/test_line::test_fault_07_answers_after_the_response_timer sim:stall
     8 lab/test_line::test_fault_08_answers_that_are_lost sim:lost_responses
     9 lab/test_line::test_fault_09_answers_in_another_order
    10 lab/test_line::test_fault_10_answers_twice_and_to_nobody
    11 engine/session/test_session::test_submit_sm_resp_of_every_shape
    12 engine/session/test_window::test_after_the_greatest_comes_1
       engine/session/test_window::test_numbers_in_use_are_skipped_whatever_uses_them
       lab/test_line::test_fault_12_a_peer_numbers_as_it_likes
    13 engine/session/test_session::test_generic_nack_is_the_failure_of_its_request
       engine/session/test_session::test_generic_nacks_for_nothing_end_the_session
    14 lab/test_line::test_fault_14_an_impossible_length
       test_whole_road::test_a_hostile_smsc_costs_only_its_bind
    15 lab/test_line::test_fault_15_a_pdu_that_never_ends
    16 lab/test_line::test_fault_16_octet_by_octet
       engine/session/test_session_machine::test_ten_megabytes_in_one_piece
    17 test_whole_road::test_a_hostile_smsc_costs_only_its_bind
    18 test_whole_road::test_a_hostile_smsc_costs_only_its_bind
       codecs/test_pdu::test_a_broken_field_is_named_with_its_answer
    19 codecs/test_pdu::test_a_damaged_pdu_is_read_or_a_typed_error
       engine/receipts/test_stage::test_garbage_in_a_deliver_sm_never_stops_the_stage
    20 engine/session/test_bind::test_refused_credentials_are_retried_slowly_with_an_alarm
       engine/session/test_bind::test_other_refusals_are_retried_as_failures
       engine/session/test_session::test_no_bind_resp_ends_the_session
       engine/session/test_session::test_bind_resp_of_another_bind_is_not_ours sim:locked_out
    21 engine/dispatch/test_failover::test_a_bind_that_is_not_bound_by_its_smsc_is_bound_anew
    22 engine/dispatch/test_failover::test_throttling_lowers_the_window_and_the_rate_and_both_come_back
       sim:throttled
    23 engine/dispatch/test_failover::test_a_full_number_waits_alone sim:queue_full
    24 engine/dispatch/test_failover::test_an_open_breaker_sends_what_waits_to_the_next_carrier
       sim:system_error
    25 engine/dispatch/test_retry::test_what_nobody_knows_is_tried_once_more sim:vendor_error
    26 engine/dispatch/test_send_window::test_congestion_between_80_and_90_holds_and_below_raises
    27 lab/test_line::test_fault_27_the_smsc_stands_still
       engine/test_app::test_one_carrier_s_trouble_is_its_own sim:stall
    28 lab/test_line::test_fault_28_the_smsc_stops_reading
       engine/session/test_bind::test_a_peer_that_does_not_read_costs_one_session_and_little_memory
    29 lab/test_two_nodes::test_fault_29_two_nodes_share_the_slots_and_the_contract
       engine/session/test_bind::test_a_bind_that_is_kicked_at_once_settles_down
    30 lab/test_line::test_fault_09_answers_in_another_order
       engine/receipts/test_stage::test_receipt_and_answer_in_the_same_breath_find_each_other
       sim:early_receipts
    31 codecs/test_receipt_variants::test_variants
    32 engine/receipts/test_stage::test_redelivered_receipts_are_answered_and_told_once
       engine/receipts/test_correlation::test_delivered_after_another_final_is_a_correction_and_only_that
       sim:doubled_receipts
    33 lab/test_receipts::test_fault_33_receipts_pour_in_after_an_outage
       lab/test_receipts::test_fault_33_a_flood_against_a_store_that_stands_still
       engine/session/test_session::test_too_many_unanswered_delivers_stop_the_reading
       engine/dispatch/test_due::test_times_are_up_although_receipts_pour_in_without_a_pause sim:down
    34 lab/test_store::test_fault_34_receipts_while_the_store_is_away sim:store_away
    35 lab/test_receipts::test_fault_35_no_receipt_ever_comes
       engine/dispatch/test_due::test_receipts_that_never_come_are_told_unknown_at_their_time
    36 engine/receipts/test_correlation::test_of_two_messages_with_one_id_the_destination_decides
       sim:ids_again
    37 lab/test_commit_points::test_fault_37_killed_at_a_commit
       lab/test_commit_points::test_fault_37_killed_at_the_wire
       lab/test_two_nodes::test_fault_37_kill_9_of_one_of_two test_whole_road::test_kill_9_loses_nothing
       sim:kill
    38 lab/test_two_nodes::test_fault_38_a_clean_stop_hands_over_at_once
       test_whole_road::test_sigterm_in_full_flight sim:stop
    39 lab/test_two_nodes::test_fault_39_stopped_longer_than_its_lease
    40 lab/test_two_nodes::test_fault_40_a_stall_shorter_than_the_lease_costs_nothing
    41 lab/test_same_names::test_fault_41_one_socket
       lab/test_same_names::test_fault_41_one_data_directory
       lab/test_same_names::test_fault_41_one_account_in_two_data_directories
       engine/cli/test_serve::test_a_second_node_on_the_same_socket_is_told
       lab/test_two_nodes::test_fault_29_two_nodes_share_the_slots_and_the_contract
    42 lab/test_dates::test_fault_42_the_date_steps_while_it_sends
       engine/test_clock::test_a_date_that_is_wrong_for_a_while_changes_nothing
       engine/test_clock::test_a_date_that_stays_what_it_became_loses_and_doubles_nothing
       engine/test_clock::test_leases_that_end_with_a_step_of_the_stores_date_move_a_slot_and_double_nothing
       sim:clock_step sim:store_clock_step
    43 lab/test_store::test_fault_43_the_store_ends_and_comes_back
       lab/test_store::test_fault_43_the_store_is_away_longer_than_a_lease
       lab/test_commit_points::test_fault_43_the_connection_falls_at_a_commit sim:store_crash
       sim:power_cut
    44 excused: one engine speaks to one primary; a failover that forgets is the operator's to prevent
    45 lab/test_store::test_fault_45_the_store_stalls lab/test_store::test_fault_45_the_store_is_slow
       lab/test_store::test_fault_45_a_stall_longer_than_the_lease sim:store_slow
    46 lab/test_two_nodes::test_fault_46_one_of_two_is_cut_off_from_the_store
       lab/test_store::test_fault_46_cut_off_from_the_store
    47 lab/test_store::test_fault_47_the_store_refuses_writes sim:store_full
    48 excused: with appendfsync always a server whose disk fails ends, which is fault 43
    49 engine/intake/test_connection::test_a_caller_that_vanishes_loses_nothing_it_was_promised
       engine/intake/test_connection::test_a_caller_that_does_not_read_answers_is_not_read sim:apps_cut
    50 engine/intake/test_server::test_a_bad_frame_closes_only_its_connection
       engine/intake/test_server::test_an_unknown_uid_is_turned_away_in_its_spelling
    51 engine/dispatch/test_recorder::test_a_lost_bind_with_half_a_long_message_on_it
       engine/dispatch/test_recorder::test_a_refused_part_keeps_the_parts_behind_it
    52 codecs/test_segment::test_no_escape_pair_is_torn_at_any_offset
       codecs/test_segment::test_255_parts_and_not_256
    53 engine/dispatch/test_outgoing::test_expired_and_forbidden_entries_are_handed_to_the_recorder
       engine/dispatch/test_recorder::test_half_a_long_message_is_not_continued_after_it_expired
    54 lab/test_dates::test_fault_54_a_backlog_revived_after_three_days
       engine/test_backlog::test_a_backlog_of_days_is_sent_in_its_time_and_at_its_pace_or_told_as_expired
    55 lab/test_config::test_fault_55_a_carrier_is_taken_out_under_its_messages
       engine/test_config_changes::test_a_carrier_that_is_gone_is_said_with_what_waits_there_and_comes_back_with_all_of_it
       engine/test_config_changes::test_a_carrier_that_no_route_names_any_more_is_drained_or_its_messages_go_elsewhere
       engine/test_config_changes::test_fewer_binds_a_smaller_window_and_a_lower_rate_hold_at_once_and_leave_nothing_behind
       engine/test_config_changes::test_other_rules_for_texts_send_it_whole_by_todays_rules_or_say_that_it_does_not_fit
       engine/test_config_changes::test_an_app_that_is_gone_is_said_and_hears_everything_when_it_comes_back
       engine/test_config_changes::test_a_lower_limit_is_in_force_within_a_second_on_a_running_node
    56 engine/session/test_connect::test_an_unknown_authority_is_refused
       engine/session/test_connect::test_a_plain_text_peer_is_refused
       engine/session/test_connect::test_an_unknown_name_is_a_connect_error
    57 lab/test_process::test_fault_57_no_descriptors_are_left
       lab/test_process::test_fault_57_no_room_for_the_log
       lab/test_process::test_fault_57_nobody_reads_the_log
       engine/cli/test_log_writer::test_a_pipe_nobody_reads_stops_nobody
    58 lab/test_receipts::test_fault_58_a_deliver_sm_that_nobody_can_read
       engine/receipts/test_stage::test_a_poisoned_pdu_ends_neither_the_node_nor_its_next_life
       engine/receipts/test_stage::test_what_cannot_be_read_is_answered_and_counted_and_holds_up_nothing
       engine/dispatch/test_outgoing::test_a_message_that_the_codec_fails_at_is_handed_to_the_recorder_and_stops_no_other
    59 excused: 72 hours of real time; the simulation plays hours a seed
    60 lab/test_receipts::test_fault_60_a_few_parts_are_taken_and_never_told_of
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from todoke.bench.simulation.faults import KINDS

TESTS = Path(__file__).parent.parent
FAULTS = 60
EXCUSED = {44, 48, 59}
ROW = re.compile(r"^ {4,5}(\d\d?) (.*(?:\n {7}\S.*)*)", re.MULTILINE)


def rows() -> dict[int, str]:
    return {int(number): words for number, words in ROW.findall(__doc__ or "")}


def test_every_fault_has_its_row() -> None:
    assert sorted(rows()) == list(range(1, FAULTS + 1))
    assert {number for number, words in rows().items() if words.startswith("excused: ")} == EXCUSED


@pytest.mark.parametrize("number", sorted(set(range(1, FAULTS + 1)) - EXCUSED))
def test_every_named_test_is_there(number: int) -> None:
    words = rows()[number].split()
    tests = [word for word in words if "::" in word]
    assert tests, "the simulation alone is no named test"
    for test in tests:
        file, name = test.split("::")
        assert f"def {name}(" in (TESTS / f"{file}.py").read_text(), test
    for word in set(words) - set(tests):
        assert word.removeprefix("sim:") in KINDS, word


def test_the_tests_here_are_named_for_faults_of_the_table() -> None:
    for file in Path(__file__).parent.glob("test_*.py"):
        for number, name in re.findall(r"def (?:test_fault_(\d\d)_)(\w+)\(", file.read_text()):
            assert f"test_fault_{number}_{name}" in rows()[int(number)], name
