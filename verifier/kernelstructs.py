"""Layouts of structs of a 7.3.4 kernel (Debian, amd64) that programs may look into. A table and nothing else.

A struct is its name, its size in bytes, "union" for unions, and its members NAME@OFFSET=TYPE; "-" has no name; an offset
BITS:WIDTH is that of a bit field. Types: a number is a scalar of so many bytes; *NAME a pointer to a struct, * to
anything else, *rcu:NAME and so on a tagged one; {NAME} a struct inside, |{NAME} a union; [N] before a type an array.
Structs without a name of their own are called after where they are first met. Read from the kernel's BTF.
"""

from typing import Final

TABLE: Final = """
bpf_map 280  sha@0=[32]1 ops@32=*bpf_map_ops inner_map_meta@40=*bpf_map security@48=* map_type@56=4 key_size@60=4
  value_size@64=4 max_entries@68=4 map_extra@72=8 map_flags@80=4 id@84=4 record@88=*btf_record numa_node@96=4
  btf_key_type_id@100=4 btf_value_type_id@104=4 btf_vmlinux_value_type_id@108=4 btf@112=*btf objcg@120=*obj_cgroup
  name@128=[16]1 freeze_mutex@144={mutex} refcnt@168={mutex.owner} usercnt@176={mutex.owner} -@184=|{bpf_map.22}
  writecnt@216={mutex.owner} owner_lock@224={spinlock} owner@232=*bpf_map_owner bypass_spec_v1@240=1 frozen@241=1
  free_after_mult_rcu_gp@242=1 free_after_rcu_gp@243=1 sleepable_refcnt@248={mutex.owner} elem_count@256=*
  cookie@264=8 excl_prog_sha@272=*
mutex 24  owner@0={mutex.owner} wait_lock@8={raw_spinlock} osq@12={optimistic_spin_queue}
  first_waiter@16=*mutex_waiter
mutex.owner 8  counter@0=8
raw_spinlock 4  raw_lock@0={qspinlock}
qspinlock 4  -@0=|{qspinlock.0}
qspinlock.0 4 union  val@0={qspinlock.0.val} -@0={qspinlock.0.1} -@0={qspinlock.0.2}
qspinlock.0.val 4  counter@0=4
qspinlock.0.1 2  locked@0=1 pending@1=1
qspinlock.0.2 4  locked_pending@0=2 tail@2=2
optimistic_spin_queue 4  tail@0={qspinlock.0.val}
bpf_map.22 32 union  work@0={work_struct} rcu@0={callback_head}
work_struct 32  data@0={mutex.owner} entry@8={list_head} func@24=*
list_head 16  next@0=*list_head prev@8=*list_head
callback_head 16  next@0=*callback_head func@8=*
spinlock 4  -@0={spinlock.0}
spinlock.0 4 union  rlock@0={raw_spinlock}
bpf_array 296  map@0={bpf_map} elem_size@280=4 index_mask@284=4 aux@288=*bpf_array_aux -@296=|{bpf_array.4}
bpf_array.4 0 union  -@0={bpf_array.4.0} -@0={bpf_array.4.1} -@0={bpf_array.4.2}
bpf_array.4.0 0  __empty_value@0={bpf_array.4.0.__empty_value} value@0=[0]1
bpf_array.4.0.__empty_value 0
bpf_array.4.1 0  __empty_ptrs@0={bpf_array.4.0.__empty_value} ptrs@0=[0]*
bpf_array.4.2 0  __empty_pptrs@0={bpf_array.4.0.__empty_value} pptrs@0=[0]*
bpf_htab 896  map@0={bpf_map} ma@280={bpf_mem_alloc} pcpu_ma@360={bpf_mem_alloc} buckets@440=*bucket elems@448=*
  -@512=|{bpf_htab.5} extra_elems@768=* pcount@776={percpu_counter} count@816={qspinlock.0.val}
  use_percpu_counter@820=1 n_buckets@824=4 elem_size@828=4 hashrnd@832=4
bpf_mem_alloc 80  caches@0=*bpf_mem_caches cache@8=*bpf_mem_cache objcg@16=*obj_cgroup percpu@24=1
  work@32={work_struct} dtor_ctx_free@64=* dtor_ctx@72=*
bpf_htab.5 256 union  freelist@0={pcpu_freelist} lru@0={bpf_lru}
pcpu_freelist 24  freelist@0=*pcpu_freelist_head extralist@8={pcpu_freelist_head}
pcpu_freelist_head 16  first@0=*pcpu_freelist_node lock@8={qspinlock}
bpf_lru 256  -@0=|{bpf_lru.0} del_from_htab@192=* del_arg@200=* hash_offset@208=4 target_free@212=4 nr_scans@216=4
  percpu@220=1
bpf_lru.0 192 union  common_lru@0={bpf_common_lru} percpu_lru@0=*bpf_lru_list
bpf_common_lru 192  lru_list@0={bpf_lru_list} local_list@128=*bpf_lru_locallist
bpf_lru_list 128  lists@0=[3]{list_head} counts@48=[2]4 next_inactive_rotation@56=*list_head lock@64={qspinlock}
percpu_counter 40  lock@0={raw_spinlock} count@8=8 list@16={list_head} counters@32=*
bpf_stack_map 320  map@0={bpf_map} elems@280=* freelist@288={pcpu_freelist} n_buckets@312=4
  buckets@320=[0]*stack_map_bucket
lpm_trie 400  map@0={bpf_map} root@280=*lpm_trie_node ma@288={bpf_mem_alloc} n_entries@368=8 max_prefixlen@376=8
  data_size@384=8 lock@392={qspinlock}
bpf_dtab 328  map@0={bpf_map} netdev_map@280=* list@288={list_head} dev_index_head@304=*hlist_head
  index_lock@312={spinlock} items@316=4 n_buckets@320=4
bpf_stab 360  map@0={bpf_map} sks@280=* progs@288={sk_psock_progs} lock@352={spinlock}
sk_psock_progs 64  msg_parser@0=*bpf_prog stream_parser@8=*bpf_prog stream_verdict@16=*bpf_prog
  skb_verdict@24=*bpf_prog msg_parser_link@32=*bpf_link stream_parser_link@40=*bpf_link
  stream_verdict_link@48=*bpf_link skb_verdict_link@56=*bpf_link
bpf_cpu_map 288  map@0={bpf_map} cpu_map@280=*
xsk_map 288  map@0={bpf_map} lock@280={spinlock} count@284={qspinlock.0.val} xsk_map@288=[0]*xdp_sock
bpf_shtab 368  map@0={bpf_map} buckets@280=*bpf_shtab_bucket buckets_num@288=4 elem_size@292=4
  progs@296={sk_psock_progs} count@360={qspinlock.0.val}
bpf_cgroup_storage_map 312  map@0={bpf_map} lock@280={spinlock} root@288={rb_root} list@296={list_head}
rb_root 8  rb_node@0=*rb_node
reuseport_array 280  map@0={bpf_map} ptrs@280=[0]*sock
bpf_queue_stack 296  map@0={bpf_map} lock@280={qspinlock} head@284=4 tail@288=4 size@292=4 elements@296=[0]1
bpf_local_storage_map 296  map@0={bpf_map} buckets@280=*bpf_local_storage_map_bucket bucket_log@288=4
  elem_size@292=2 cache_idx@294=2
bpf_struct_ops_map 512  map@0={bpf_map} st_ops_desc@280=*bpf_struct_ops_desc lock@288={mutex} links@312=*
  ksyms@320=* funcs_cnt@328=4 image_pages_cnt@332=4 image_pages@336=[8]* btf@400=*btf
  uvalue@408=*bpf_struct_ops_value kvalue@448={bpf_struct_ops_value}
bpf_struct_ops_value 64  common@0={bpf_struct_ops_common_value} data@64=[0]1
bpf_struct_ops_common_value 8  refcnt@0={refcount_struct} state@4=4
refcount_struct 4  refs@0={qspinlock.0.val}
bpf_ringbuf_map 288  map@0={bpf_map} rb@280=*bpf_ringbuf
bpf_bloom_filter 296  map@0={bpf_map} bitset_mask@280=4 hash_seed@284=4 nr_hash_funcs@288=4 bitset@296=[0]8
bpf_arena 504  map@0={bpf_map} user_vm_start@280=8 user_vm_end@288=8 kern_vm@296=*vm_struct scratch_page@304=*page
  rt@312={range_tree} spinlock@344={qspinlock} nr_pages@352=8 vma_list@360={list_head} lock@376={mutex}
  zap_gen@400=8 zap_mutex@408={mutex} free_irq@432={irq_work} free_work@464={work_struct}
  free_spans@496={llist_head}
range_tree 32  it_root@0={rb_root_cached} range_size_root@16={rb_root_cached}
rb_root_cached 16  rb_root@0={rb_root} rb_leftmost@8=*rb_node
irq_work 32  node@0={__call_single_node} func@16=* irqwait@24={rcuwait}
__call_single_node 16  llist@0={llist_node} -@8=|{__call_single_node.1} src@12=2 dst@14=2
llist_node 8  next@0=*llist_node
__call_single_node.1 4 union  u_flags@0=4 a_flags@0={qspinlock.0.val}
rcuwait 8  task@0=*task_struct
llist_head 8  first@0=*llist_node
bpf_insn_array 296  map@0={bpf_map} used@280={qspinlock.0.val} ips@288=* -@296={bpf_insn_array.3}
bpf_insn_array.3 0  __empty_values@0={bpf_array.4.0.__empty_value} values@0=[0]{bpf_insn_array_value}
bpf_insn_array_value 16  orig_off@0=4 xlated_off@4=4 jitted_off@8=4
nf_hook_state 48  hook@0=1 pf@1=1 in@8=*net_device out@16=*net_device sk@24=*sock net@32=*net okfn@40=*
bpf_iter_meta 24  -@0={bpf_iter_meta.0} session_id@8=8 seq_num@16=8
bpf_iter_meta.0 8 union  seq@0=*seq_file
bpf_iter__task 16  -@0={bpf_iter__task.0} -@8={bpf_iter__task.1}
bpf_iter__task.0 8 union  meta@0=*bpf_iter_meta
bpf_iter__task.1 8 union  task@0=*task_struct
task_struct 6144  thread_info@0={thread_info} __state@24=4 saved_state@28=4 stack@32=* usage@40={refcount_struct}
  flags@44=4 ptrace@48=4 on_cpu@52=1 on_rq@53=1 is_blocked@54=1 __pad@55=1 wake_entry@56={__call_single_node}
  wakee_flips@72=4 wakee_flip_decay_ts@80=8 last_wakee@88=*task_struct recent_used_cpu@96=4 wake_cpu@100=4
  prio@104=4 static_prio@108=4 normal_prio@112=4 rt_priority@116=4 se@128={sched_entity} rt@448={sched_rt_entity}
  dl@496={sched_dl_entity} dl_server@768=*sched_dl_entity scx@776={sched_ext_entity} sched_class@1048=*sched_class
  sched_task_group@1056=*task_group sched_throttle_work@1064={callback_head} throttle_node@1080={list_head}
  throttled@1096=1 uclamp_req@1100=[2]{uclamp_se} uclamp@1108=[2]{uclamp_se} stats@1152={sched_statistics}
  preempt_notifiers@1408={hlist_head} btrace_seq@1416=4 policy@1420=4 max_allowed_capacity@1424=8
  nr_cpus_allowed@1432=4 cpus_ptr@1440=*cpumask user_cpus_ptr@1448=*cpumask cpus_mask@1456={cpumask}
  migration_pending@2480=* migration_disabled@2488=2 migration_flags@2490=2 rcu_read_lock_nesting@2492=4
  rcu_read_unlock_special@2496=|{rcu_special} rcu_node_entry@2504={list_head} rcu_blocked_node@2520=*rcu_node
  rcu_tasks_nvcsw@2528=8 rcu_tasks_holdout@2536=1 rcu_tasks_idx@2537=1 rcu_tasks_idle_cpu@2540=4
  rcu_tasks_holdout_list@2544={list_head} rcu_tasks_exit_cpu@2560=4 rcu_tasks_exit_list@2568={list_head}
  trc_reader_nesting@2584=4 trc_reader_scp@2592=*srcu_ctr sched_info@2600={sched_info} tasks@2664={list_head}
  pushable_tasks@2680={plist_node} pushable_dl_tasks@2720={rb_node} mm@2744=*mm_struct active_mm@2752=*mm_struct
  exec_state@2760=*task_exec_state exit_state@2768=4 exit_code@2772=4 exit_signal@2776=4 pdeath_signal@2780=4
  jobctl@2784=8 personality@2792=4 sched_reset_on_fork@22368:1=4 sched_contributes_to_load@22369:1=4
  sched_migrated@22370:1=4 sched_task_hot@22371:1=4 sched_remote_wakeup@22400:1=4 sched_rt_mutex@22401:1=4
  in_execve@22402:1=4 in_iowait@22403:1=4 restore_sigmask@22404:1=4 in_lru_fault@22405:1=4
  no_cgroup_migration@22406:1=4 frozen@22407:1=4 use_memdelay@22408:1=4 in_memstall@22409:1=4 in_eventfd@22410:1=4
  pasid_activated@22411:1=4 reported_split_lock@22412:1=4 in_thrashing@22413:1=4 in_nf_duplicate@22414:1=4
  atomic_flags@2808=8 restart_block@2816={restart_block} pid@2872=4 tgid@2876=4 stack_canary@2880=8
  real_parent@2888=*task_struct parent@2896=*task_struct children@2904={list_head} sibling@2920={list_head}
  group_leader@2936=*task_struct ptraced@2944={list_head} ptrace_entry@2960={list_head} thread_pid@2976=*pid
  pid_links@2984=[4]{hlist_node} thread_node@3048={list_head} vfork_done@3064=*completion set_child_tid@3072=*
  clear_child_tid@3080=* worker_private@3088=* utime@3096=8 stime@3104=8 gtime@3112=8
  prev_cputime@3120={prev_cputime} vtime@3144={vtime} tick_dep_mask@3192={qspinlock.0.val} nvcsw@3200=8
  nivcsw@3208=8 start_time@3216=8 start_boottime@3224=8 min_flt@3232=8 maj_flt@3240=8
  posix_cputimers@3248={posix_cputimers} posix_cputimers_work@3328={posix_cputimers_work} ptracer_cred@3376=*cred
  real_cred@3384=*cred cred@3392=*cred cached_requested_key@3400=*key comm@3408=[16]1 nameidata@3424=*nameidata
  sysvsem@3432={sysv_sem} sysvshm@3440={sysv_shm} last_switch_count@3456=8 last_switch_time@3464=8
  real_fs@3472=*fs_struct fs@3480=*fs_struct files@3488=*files_struct io_uring@3496=*io_uring_task
  io_uring_restrict@3504=*io_restriction nsproxy@3512=*nsproxy signal@3520=*signal_struct
  sighand@3528=*sighand_struct blocked@3536={task_struct.blocked} real_blocked@3544={task_struct.blocked}
  saved_sigmask@3552={task_struct.blocked} pending@3560={sigpending} sas_ss_sp@3584=8 sas_ss_size@3592=8
  sas_ss_flags@3600=4 task_works@3608=*callback_head audit_context@3616=*audit_context
  loginuid@3624={task_struct.loginuid} sessionid@3628=4 seccomp@3632={seccomp}
  syscall_dispatch@3648={syscall_user_dispatch} parent_exec_id@3680=8 self_exec_id@3688=8 alloc_lock@3696={spinlock}
  pi_lock@3700={raw_spinlock} wake_q@3704={wake_q_node} pi_waiters@3712={rb_root_cached}
  pi_top_task@3728=*task_struct pi_blocked_on@3736=*rt_mutex_waiter blocked_on@3744=*mutex
  blocked_lock@3752={raw_spinlock} blocked_donor@3760=*task_struct blocker@3768=8 in_ubsan@3776=4
  journal_info@3784=* bio_list@3792=*bio_list plug@3800=*blk_plug reclaim_state@3808=*reclaim_state
  io_context@3816=*io_context capture_control@3824=*capture_control ptrace_message@3832=8
  last_siginfo@3840=*kernel_siginfo ioac@3848={task_io_accounting} psi_flags@3904=4 acct_rss_mem1@3912=8
  acct_vm_mem1@3920=8 acct_timexpd@3928=8 mems_allowed@3936={task_struct.mems_allowed}
  mems_allowed_seq@4064={seqcount_spinlock} cpuset_mem_spread_rotor@4068=4 cgroups@4072=*css_set
  cg_list@4080={list_head} closid@4096=4 rmid@4100=4 futex@4104={futex_sched_data} perf_recursion@4176=[4]1
  perf_event_ctxp@4184=*perf_event_context perf_event_mutex@4192={mutex} perf_event_list@4216={list_head}
  perf_ctx_data@4232=*perf_ctx_data ipi_mask@4240={task_ipi_mask} mempolicy@4248=*mempolicy il_prev@4256=2
  il_weight@4258=1 pref_node_fork@4260=2 numa_scan_seq@4264=4 numa_scan_period@4268=4 numa_scan_period_max@4272=4
  numa_preferred_nid@4276=4 numa_migrate_retry@4280=8 node_stamp@4288=8 last_task_numa_placement@4296=8
  last_sum_exec_runtime@4304=8 numa_work@4312={callback_head} numa_group@4328=*numa_group numa_faults@4336=*
  total_numa_faults@4344=8 numa_faults_locality@4352=[3]8 numa_pages_migrated@4376=8 cache_work@4384={callback_head}
  sched_cache_grp@4400=*sched_cache_group preferred_llc@4408=4 pref_llc_queued@4412=4 rseq@4416={rseq_data}
  mm_cid@4456={sched_mm_cid} tlb_ubc@4480={tlbflush_unmap_batch} splice_pipe@5520=*pipe_inode_info
  task_frag@5528={page_frag} lazy_mmu_state@5544={lazy_mmu_state} delays@5552=*task_delay_info nr_dirtied@5560=4
  nr_dirtied_pause@5564=4 dirty_paused_when@5568=8 timer_slack_ns@5576=8 default_timer_slack_ns@5584=8
  curr_ret_stack@5592=4 curr_ret_depth@5596=4 ret_stack@5600=* ftrace_timestamp@5608=8 ftrace_sleeptime@5616=8
  trace_overrun@5624={qspinlock.0.val} tracing_graph_pause@5628={qspinlock.0.val} trace_recursion@5632=8
  memcg_nr_pages_over_high@5640=4 active_memcg@5648=*mem_cgroup objcg@5656=*obj_cgroup throttle_disk@5664=*gendisk
  utask@5672=*uprobe_task sequential_io@5680=4 sequential_io_avg@5684=4 kmap_ctrl@5688={kmap_ctrl}
  rcu@5688={callback_head} rcu_users@5704={refcount_struct} pagefault_disabled@5708=4
  oom_reaper_list@5712=*task_struct oom_reaper_timer@5720={timer_list} stack_vm_area@5760=*vm_struct
  stack_refcount@5768={refcount_struct} patch_state@5772=4 security@5776=* bpf_storage@5784=*bpf_local_storage
  bpf_ctx@5792=*bpf_run_ctx bpf_net_context@5800=*bpf_net_context mce_vaddr@5808=* mce_kflags@5816=8 mce_addr@5824=8
  mce_ripv@46656:1=8 mce_whole_page@46657:1=8 __mce_reserved@46658:62=8 mce_kill_me@5840={callback_head}
  mce_count@5856=4 kretprobe_instances@5864={llist_head} rethooks@5872={llist_head}
  l1d_flush_kill@5880={callback_head} unwind_info@5896={unwind_task_info} thread@5936={thread_struct}
thread_info 24  flags@0=8 syscall_work@8=8 status@16=4 cpu@20=4
sched_entity 320  load@0={load_weight} h_load@16={load_weight} run_node@32={rb_node} deadline@56=8 min_vruntime@64=8
  min_slice@72=8 max_slice@80=8 group_node@88={list_head} on_rq@104=1 sched_delayed@105=1 rel_deadline@106=1
  custom_slice@107=1 exec_start@112=8 sum_exec_runtime@120=8 prev_sum_exec_runtime@128=8 vruntime@136=8 vlag@144=8
  vprot@152=8 slice@160=8 nr_migrations@168=8 depth@176=4 parent@184=*sched_entity cfs_rq@192=*cfs_rq
  my_q@200=*cfs_rq runnable_weight@208=8 avg@256={sched_avg}
load_weight 16  weight@0=8 inv_weight@8=4
rb_node 24  __rb_parent_color@0=8 rb_right@8=*rb_node rb_left@16=*rb_node
sched_avg 64  last_update_time@0=8 load_sum@8=8 runnable_sum@16=8 util_sum@24=4 period_contrib@28=4 load_avg@32=8
  runnable_avg@40=8 util_avg@48=8 util_est@56=4
sched_rt_entity 48  run_list@0={list_head} timeout@16=8 watchdog_stamp@24=8 time_slice@32=4 on_rq@36=2 on_list@38=2
  back@40=*sched_rt_entity
sched_dl_entity 272  rb_node@0={rb_node} dl_runtime@24=8 dl_deadline@32=8 dl_period@40=8 dl_bw@48=8 dl_density@56=8
  runtime@64=8 deadline@72=8 flags@80=4 dl_throttled@672:1=4 dl_yielded@673:1=4 dl_non_contending@674:1=4
  dl_overrun@675:1=4 dl_server@676:1=4 dl_server_active@677:1=4 dl_defer@678:1=4 dl_defer_armed@679:1=4
  dl_defer_running@680:1=4 dl_defer_idle@681:1=4 dl_bw_attached@682:1=4 dl_timer@88={hrtimer}
  inactive_timer@168={hrtimer} rq@248=*rq server_pick_task@256=* pi_se@264=*sched_dl_entity
hrtimer 80  node@0={timerqueue_linked_node} base@48=*hrtimer_clock_base is_queued@56=1 is_rel@57=1 is_soft@58=1
  is_hard@59=1 is_lazy@60=1 _softexpires@64=8 function@72=*
timerqueue_linked_node 48  node@0={rb_node_linked} expires@40=8
rb_node_linked 40  node@0={rb_node} prev@24=*rb_node_linked next@32=*rb_node_linked
sched_ext_entity 272  sched@0=*scx_sched dsq@8=*scx_dispatch_q ops_state@16={mutex.owner} ddsp_dsq_id@24=8
  ddsp_enq_flags@32=8 ddsp_slice@40=8 ddsp_vtime@48=8 dsq_list@56={scx_dsq_list_node} dsq_priq@80={rb_node}
  dsq_seq@104=4 dsq_flags@108=4 flags@112=4 weight@116=4 reenq_cnt@120=4 sticky_cpu@124=4 holding_cpu@128=4
  selected_cpu@132=4 runnable_cpu@136=4 ops_qseq@140=4 kf_tasks@144=[2]*task_struct runnable_node@160={list_head}
  runnable_at@176=8 rescue_at@184=8 tid@192=8 tid_hash_node@200={rhash_head} slice@208=8 dsq_vtime@216=8
  slice_oob@224={mutex.owner} reenq_reason_caps@232=8 reenq_reason_cid@240=4 disallow@244=1
  cgrp_moving_from@248=*cgroup tasks_node@256={list_head}
scx_dsq_list_node 24  node@0={list_head} flags@16=4 priv@20=4
rhash_head 8  next@0=*rhash_head
uclamp_se 4  value@0:11=4 bucket_id@11:3=4 active@14:1=4 user_defined@15:1=4
sched_statistics 256  wait_start@0=8 wait_max@8=8 wait_count@16=8 wait_sum@24=8 iowait_count@32=8 iowait_sum@40=8
  sleep_start@48=8 sleep_max@56=8 sum_sleep_runtime@64=8 block_start@72=8 block_max@80=8 sum_block_runtime@88=8
  exec_max@96=8 slice_max@104=8 nr_failed_migrations_affine@112=8 nr_failed_migrations_running@120=8
  nr_failed_migrations_hot@128=8 nr_forced_migrations@136=8 nr_wakeups@144=8 nr_wakeups_sync@152=8
  nr_wakeups_migrate@160=8 nr_wakeups_local@168=8 nr_wakeups_remote@176=8 nr_wakeups_affine@184=8
  nr_wakeups_affine_attempts@192=8
hlist_head 8  first@0=*hlist_node
cpumask 1024  bits@0=[128]8
rcu_special 4 union  b@0={rcu_special.b} s@0=4
rcu_special.b 4  blocked@0=1 need_qs@1=1 exp_hint@2=1 need_mb@3=1
sched_info 64  pcount@0=8 run_delay@8=8 max_run_delay@16=8 min_run_delay@24=8 last_arrival@32=8 last_queued@40=8
  max_run_delay_ts@48={timespec64}
timespec64 16  tv_sec@0=8 tv_nsec@8=8
plist_node 40  prio@0=4 prio_list@8={list_head} node_list@24={list_head}
restart_block 56  arch_data@0=8 fn@8=* -@16=|{restart_block.2}
restart_block.2 40 union  futex@0={restart_block.2.futex} nanosleep@0={restart_block.2.nanosleep}
  poll@0={restart_block.2.poll}
restart_block.2.futex 40  uaddr@0=* val@8=4 flags@12=4 bitset@16=4 time@24=8 uaddr2@32=*
restart_block.2.nanosleep 24  clockid@0=4 type@4=4 -@8=|{restart_block.2.nanosleep.2} expires@16=8
restart_block.2.nanosleep.2 8 union  rmtp@0=*__kernel_timespec compat_rmtp@0=*old_timespec32
restart_block.2.poll 32  ufds@0=*pollfd nfds@8=4 has_timeout@12=4 end_time@16={timespec64}
hlist_node 16  next@0=*hlist_node pprev@8=*
prev_cputime 24  utime@0=8 stime@8=8 lock@16={raw_spinlock}
vtime 48  seqcount@0={seqcount} starttime@8=8 state@16=4 cpu@20=4 utime@24=8 stime@32=8 gtime@40=8
seqcount 4  sequence@0=4
posix_cputimers 80  bases@0=[3]{posix_cputimer_base} timers_active@72=4 expiry_active@76=4
posix_cputimer_base 24  nextevt@0=8 tqhead@8={timerqueue_head}
timerqueue_head 16  rb_root@0={rb_root_cached}
posix_cputimers_work 48  work@0={callback_head} mutex@16={mutex} scheduled@40=4
sysv_sem 8  undo_list@0=*sem_undo_list
sysv_shm 16  shm_clist@0={list_head}
task_struct.blocked 8  sig@0=[1]8
sigpending 24  list@0={list_head} signal@16={task_struct.blocked}
task_struct.loginuid 4  val@0=4
seccomp 16  mode@0=4 filter_count@4={qspinlock.0.val} filter@8=*seccomp_filter
syscall_user_dispatch 32  selector@0=* offset@8=8 len@16=8 on_dispatch@24=1
wake_q_node 8  next@0=*wake_q_node
task_io_accounting 56  rchar@0=8 wchar@8=8 syscr@16=8 syscw@24=8 read_bytes@32=8 write_bytes@40=8
  cancelled_write_bytes@48=8
task_struct.mems_allowed 128  bits@0=[16]8
seqcount_spinlock 4  seqcount@0={seqcount}
futex_sched_data 72  robust_list@0=*robust_list_head compat_robust_list@8=*compat_robust_list_head
  pi_state_list@16={list_head} pi_state_cache@32=*futex_pi_state exit_mutex@40={mutex} state@64=4
task_ipi_mask 8  -@0=|{task_ipi_mask.0}
task_ipi_mask.0 8 union  ipi_mask_ptr@0=*cpumask ipi_mask_val@0=8
rseq_data 40  usrptr@0=*rseq len@8=4 sig@12=4 event@16={rseq_event} ids@24={rseq_ids}
rseq_event 8  -@0=|{rseq_event.0}
rseq_event.0 8 union  all@0=8 -@0={rseq_event.0.1}
rseq_event.0.1 8  -@0=|{rseq_event.0.1.0} has_rseq@4=1 __pad@5=1 -@6=|{rseq_event.0.1.3}
rseq_event.0.1.0 4 union  events@0=4 -@0={rseq_event.0.1.0.1}
rseq_event.0.1.0.1 3  sched_switch@0=1 ids_changed@1=1 user_irq@2=1
rseq_event.0.1.3 2 union  error@0=2 -@0={rseq_event.0.1.3.1}
rseq_event.0.1.3.1 2  fatal@0=1 slowpath@1=1
rseq_ids 16  -@0=|{rseq_ids.0} node_id@8=4
rseq_ids.0 8 union  cpu_cid@0=8 -@0={rseq_ids.0.1}
rseq_ids.0.1 8  cpu_id@0=4 mm_cid@4=4
sched_mm_cid 24  active@0=4 cid@4=4 node@8={hlist_node}
tlbflush_unmap_batch 1040  arch@0={arch_tlbflush_unmap_batch} flush_required@1032=1 writable@1033=1
arch_tlbflush_unmap_batch 1032  cpumask@0={cpumask} unmapped_pages@1024=1
page_frag 16  page@0=*page offset@8=4 size@12=4
lazy_mmu_state 2  enable_count@0=1 pause_count@1=1
kmap_ctrl 0
timer_list 40  entry@0={hlist_node} expires@16=8 function@24=* flags@32=4
unwind_task_info 40  unwind_mask@0={mutex.owner} cache@8=*unwind_cache work@16={callback_head}
  id@32=|{unwind_task_id}
unwind_task_id 8 union  -@0={unwind_task_id.0} id@0=8
unwind_task_id.0 8  cpu@0=4 cnt@4=4
thread_struct 184  tls_array@0=[3]{desc_struct} sp@24=8 es@32=2 ds@34=2 fsindex@36=2 gsindex@38=2 fsbase@40=8
  gsbase@48=8 ptrace_bps@56=[4]*perf_event virtual_dr6@88=8 ptrace_dr7@96=8 cr2@104=8 trap_nr@112=8 error_code@120=8
  io_bitmap@128=*io_bitmap iopl_emul@136=8 iopl_warn@1152:1=4 pkru@148=4 features@152=8 features_locked@160=8
  shstk@168={thread_shstk}
desc_struct 8  limit0@0=2 base0@2=2 base1@32:8=2 type@40:4=2 s@44:1=2 dpl@45:2=2 p@47:1=2 limit1@48:4=2 avl@52:1=2
  l@53:1=2 d@54:1=2 g@55:1=2 base2@56:8=2
thread_shstk 16  base@0=8 size@8=8
cgroup 2368  self@0={cgroup_subsys_state} flags@248=8 level@256=4 max_depth@260=4 nr_descendants@264=4
  nr_dying_descendants@268=4 max_descendants@272=4 nr_populated_domain_children@276=4
  nr_populated_threaded_children@280=4 nr_threaded_children@284=4 kill_seq@288=4 kn@296=*kernfs_node
  procs_file@304={cgroup_file} events_file@368={cgroup_file} psi_files@432=[3]{cgroup_file} subtree_control@624=4
  subtree_ss_mask@628=4 old_subtree_control@632=4 old_subtree_ss_mask@636=4 subsys@640=[14]*cgroup_subsys_state
  nr_dying_subsys@752=[14]4 root@808=*cgroup_root cset_links@816={list_head} e_csets@832=[14]{list_head}
  dom_cgrp@1056=*cgroup old_dom_cgrp@1064=*cgroup rstat_base_cpu@1072=*cgroup_rstat_base_cpu
  _pad_@1088={cacheline_padding} last_bstat@1088={cgroup_base_stat} bstat@1120={cgroup_base_stat}
  prev_cputime@1152={prev_cputime} pidlists@1176={list_head} pidlist_mutex@1192={mutex}
  offline_waitq@1216={wait_queue_head} release_agent_work@1240={work_struct} psi@1272=*psi_group
  bpf@1280={cgroup_bpf} freezer@2304={cgroup_freezer_state} bpf_cgrp_storage@2336=*bpf_local_storage
  scx_sched@2344=*scx_sched -@2352=|{cgroup.40}
cgroup_subsys_state 248  cgroup@0=*cgroup ss@8=*cgroup_subsys refcnt@16={percpu_ref} rstat_cpu@32=*css_rstat_cpu
  sibling@40={list_head} children@56={list_head} id@72=4 flags@76=4 serial_nr@80=8 online_cnt@88={qspinlock.0.val}
  destroy_work@96={work_struct} destroy_rwork@128={rcu_work} parent@184=*cgroup_subsys_state nr_descendants@192=4
  nr_populated_csets@196=4 nr_populated_children@200=4 kill_finish_work@208={work_struct}
  rstat_flush_next@240=*cgroup_subsys_state
percpu_ref 16  percpu_count_ptr@0=8 data@8=*percpu_ref_data
rcu_work 56  work@0={work_struct} rcu@32={callback_head} wq@48=*workqueue_struct
cgroup_file 64  kn@0=*kernfs_node notified_at@8=8 notify_timer@16={timer_list} lock@56={spinlock}
cacheline_padding 0  x@0=[0]1
cgroup_base_stat 32  cputime@0={task_cputime} ntime@24=8
task_cputime 24  stime@0=8 utime@8=8 sum_exec_runtime@16=8
wait_queue_head 24  lock@0={spinlock} head@8={list_head}
cgroup_bpf 1024  effective@0=[38]*bpf_prog_array progs@304=[38]{hlist_head} flags@608=[38]1 revisions@648=[38]8
  storages@952={list_head} inactive@968=*bpf_prog_array refcnt@976={percpu_ref} release_work@992={work_struct}
cgroup_freezer_state 32  freeze@0=1 e_freeze@1=1 nr_frozen_descendants@4=4 nr_frozen_tasks@8=4
  freeze_seq@12={seqcount_spinlock} freeze_start_nsec@16=8 frozen_nsec@24=8
cgroup.40 8 union  -@0={cgroup.40.0} -@0={cgroup.40.1}
cgroup.40.0 0  __empty_ancestors@0={bpf_array.4.0.__empty_value} ancestors@0=[0]*cgroup
cgroup.40.1 8  _root_ancestor@0=*cgroup -@8={cgroup.40.1.1}
cgroup.40.1.1 0  __empty__low_ancestors@0={bpf_array.4.0.__empty_value} _low_ancestors@0=[0]*cgroup
css_set 592  subsys@0=[14]*cgroup_subsys_state refcount@112={refcount_struct} dom_cset@120=*css_set
  dfl_cgrp@128=*cgroup nr_tasks@136=4 tasks@144={list_head} mg_tasks@160={list_head} dying_tasks@176={list_head}
  task_iters@192={list_head} e_cset_node@208=[14]{list_head} threaded_csets@432={list_head}
  threaded_csets_node@448={list_head} hlist@464={hlist_node} cgrp_links@480={list_head}
  mg_src_preload_node@496={list_head} mg_dst_preload_node@512={list_head} mg_node@528={list_head}
  mg_src_cgrp@544=*cgroup mg_dst_cgrp@552=*cgroup mg_dst_cset@560=*css_set dead@568=1
  callback_head@576={callback_head}
mm_struct 1728  -@0={mm_struct.0} flexible_array@1728=[0]1
mm_struct.0 1728  -@0={mm_struct.0.0} mm_mt@64={maple_tree} mmap_base@80=8 mmap_legacy_base@88=8
  mmap_compat_base@96=8 mmap_compat_legacy_base@104=8 task_size@112=8 pgd@120=*anon
  membarrier_state@128={qspinlock.0.val} mm_users@132={qspinlock.0.val} mm_cid@192={mm_mm_cid}
  sched_cache_grp@384=*sched_cache_group pgtables_bytes@392={mutex.owner} map_count@400=4
  page_table_lock@404={spinlock} mmap_lock@408={rw_semaphore} mmlist@440={list_head} vma_writer_wait@456={rcuwait}
  mm_lock_seq@464={seqcount} futex@472={futex_mm_data} hiwater_rss@592=8 hiwater_vm@600=8 total_vm@608=8
  locked_vm@616=8 pinned_vm@624={mutex.owner} data_vm@632=8 exec_vm@640=8 stack_vm@648=8 -@656=|{mm_struct.0.28}
  write_protect_seq@664={seqcount} arg_lock@668={spinlock} start_code@672=8 end_code@680=8 start_data@688=8
  end_data@696=8 start_brk@704=8 brk@712=8 start_stack@720=8 arg_start@728=8 arg_end@736=8 env_start@744=8
  env_end@752=8 saved_auxv@760=[56]8 rss_stat@1208=[4]{percpu_counter} binfmt@1368=*linux_binfmt
  context@1376={mm_struct.0.context} flags@1504={mm_struct.0.flags} ioctx_lock@1512={spinlock}
  ioctx_table@1520=*kioctx_table owner@1528=*task_struct exe_file@1536=*file
  notifier_subscriptions@1544=*mmu_notifier_subscriptions numa_next_scan@1552=8 numa_scan_offset@1560=8
  numa_scan_seq@1568=4 tlb_flush_pending@1572={qspinlock.0.val} tlb_flush_batched@1576={qspinlock.0.val}
  uprobes_state@1584={uprobes_state} hugetlb_usage@1592={mutex.owner} async_put_work@1600={work_struct}
  iommu_mm@1632=*iommu_mm_data ksm_merging_pages@1640=8 ksm_rmap_items@1648=8 ksm_zero_pages@1656={mutex.owner}
  lru_gen@1664={mm_struct.0.lru_gen} mm_id@1696=4
mm_struct.0.0 64  mm_count@0={qspinlock.0.val}
maple_tree 16  -@0={maple_tree.0} ma_flags@4=4 ma_root@8=*
maple_tree.0 4 union  ma_lock@0={spinlock}
mm_mm_cid 192  pcpu@0=*mm_cid_pcpu mode@8=4 max_cids@12=4 irq_work@16={irq_work} work@48={work_struct}
  lock@80={raw_spinlock} mutex@88={mutex} user_list@112={hlist_head} nr_cpus_allowed@120=4 users@124=4
  pcpu_thrs@128=4 update_deferred@132=4
rw_semaphore 32  count@0={mutex.owner} owner@8={mutex.owner} osq@16={optimistic_spin_queue}
  wait_lock@20={raw_spinlock} first_waiter@24=*rwsem_waiter
futex_mm_data 120  phash@0={futex_mm_phash} unlock@80={futex_unlock_cs_ranges} unique_id@112={mutex.owner}
futex_mm_phash 80  lock@0={mutex} hash@24=*futex_private_hash hash_new@32=*futex_private_hash batches@40=8
  rcu@48={callback_head} atomic@64={mutex.owner} ref@72=*
futex_unlock_cs_ranges 32  cs_ranges@0=[2]{futex_unlock_cs_range}
futex_unlock_cs_range 16  start_ip@0=8 len@8=4 pop_size32@12=4
mm_struct.0.28 8 union  def_flags@0=8 def_vma_flags@0={mm_struct.0.28.def_vma_flags}
mm_struct.0.28.def_vma_flags 8  __vma_flags@0=[1]8
mm_struct.0.context 128  ctx_id@0=8 tlb_gen@8={mutex.owner} next_trim_cpumask@16=8 ldt_usr_sem@24={rw_semaphore}
  ldt@56=*ldt_struct flags@64=8 lock@72={mutex} vdso@96=* vdso_image@104=*vdso_image
  perf_rdpmc_allowed@112={qspinlock.0.val} pkey_allocation_map@116=2 execute_only_pkey@118=2 global_asid@120=2
  asid_transition@122=1
mm_struct.0.flags 8  __mm_flags@0=[1]8
uprobes_state 8  xol_area@0=*xol_area
mm_struct.0.lru_gen 32  list@0={list_head} bitmap@16=8 memcg@24=*mem_cgroup
sk_buff 232  -@0=|{sk_buff.0} sk@24=*sock -@32=|{sk_buff.2} cb@40=[48]1 -@88=|{sk_buff.4} _nfct@104=8 len@112=4
  data_len@116=4 mac_len@120=2 hdr_len@122=2 queue_mapping@124=2 __cloned_offset@126=[0]1 cloned@1008:1=1
  nohdr@1009:1=1 fclone@1010:2=1 peeked@1012:1=1 head_frag@1013:1=1 pfmemalloc@1014:1=1 pp_recycle@1015:1=1
  active_extensions@127=1 -@128=|{sk_buff.20} tail@188=4 end@192=4 head@200=* data@208=* truesize@216=4
  users@220={refcount_struct} extensions@224=*skb_ext
sk_buff.0 24 union  -@0={sk_buff.0.0} rbnode@0={rb_node} list@0={list_head} ll_node@0={llist_node}
sk_buff.0.0 24  next@0=*sk_buff prev@8=*sk_buff -@16=|{sk_buff.0.0.2}
sk_buff.0.0.2 8 union  dev@0=*net_device dev_scratch@0=8
sk_buff.2 8 union  tstamp@0=8 skb_mstamp_ns@0=8
sk_buff.4 16 union  -@0={sk_buff.4.0} tcp_tsorted_anchor@0={list_head} _sk_redir@0=8
sk_buff.4.0 16  _skb_refdst@0=8 destructor@8=*
sk_buff.20 60 union  -@0={sk_buff.20.0} headers@0={sk_buff.20.0}
sk_buff.20.0 60  __pkt_type_offset@0=[0]1 pkt_type@0:3=1 ignore_df@3:1=1 dst_pending_confirm@4:1=1 ip_summed@5:2=1
  ooo_okay@7:1=1 __mono_tc_offset@1=[0]1 tstamp_type@8:2=1 tc_at_ingress@10:1=1 tc_skip_classify@11:1=1
  remcsum_offload@12:1=1 csum_complete_sw@13:1=1 csum_level@14:2=1 inner_protocol_type@16:1=1 l4_hash@17:1=1
  sw_hash@18:1=1 no_fcs@19:1=1 encapsulation@20:1=1 encap_hdr_csum@21:1=1 csum_valid@22:1=1 ndisc_nodetype@24:2=1
  ipvs_property@26:1=1 nf_trace@27:1=1 redirected@28:1=1 from_ingress@29:1=1 nf_skip_egress@30:1=1 decrypted@31:1=1
  slow_gro@32:1=1 csum_not_inet@33:1=1 unreadable@34:1=1 tc_depth@35:2=1 tc_index@6=2 alloc_cpu@8=2
  -@12=|{sk_buff.20.0.33} priority@16=4 skb_iif@20=4 hash@24=4 -@28=|{sk_buff.20.0.37} -@32=|{sk_buff.20.0.38}
  secmark@36=4 -@40=|{sk_buff.20.0.40} -@44=|{sk_buff.20.0.41} inner_transport_header@46=2 inner_network_header@48=2
  inner_mac_header@50=2 protocol@52=2 transport_header@54=2 network_header@56=2 mac_header@58=2
  kcov_handle@60={kcov_common_handle_id}
sk_buff.20.0.33 4 union  csum@0=4 -@0={sk_buff.20.0.33.1}
sk_buff.20.0.33.1 4  csum_start@0=2 csum_offset@2=2
sk_buff.20.0.37 4 union  vlan_all@0=4 -@0={sk_buff.20.0.37.1}
sk_buff.20.0.37.1 4  vlan_proto@0=2 vlan_tci@2=2
sk_buff.20.0.38 4 union  napi_id@0=4 sender_cpu@0=4
sk_buff.20.0.40 4 union  mark@0=4 reserved_tailroom@0=4
sk_buff.20.0.41 2 union  inner_protocol@0=2 inner_ipproto@0=1
kcov_common_handle_id 0
request_sock 232  __req_common@0={sock_common} dl_next@136=*request_sock mss@144=2 num_retrans@146=1
  syncookie@1176:1=1 num_timeout@1177:7=1 ts_recent@148=4 rsk_timer@152={timer_list} rsk_ops@192=*request_sock_ops
  sk@200=*sock saved_syn@208=*saved_syn secid@216=4 peer_secid@220=4 timeout@224=4
sock_common 136  -@0=|{sock_common.0} -@8=|{sock_common.1} -@12=|{sock_common.2} skc_family@16=2 skc_state@18=1
  skc_reuse@152:4=1 skc_reuseport@156:1=1 skc_ipv6only@157:1=1 skc_net_refcnt@158:1=1 skc_bypass_prot_mem@159:1=1
  skc_bound_dev_if@20=4 -@24=|{sock_common.11} skc_prot@40=*proto skc_net@48={sock_common.skc_net}
  skc_v6_daddr@56={in6_addr} skc_v6_rcv_saddr@72={in6_addr} skc_cookie@88={mutex.owner} -@96=|{sock_common.17}
  skc_dontcopy_begin@104=[0]4 -@104=|{sock_common.19} skc_tx_queue_mapping@120=2 skc_rx_queue_mapping@122=2
  -@124=|{sock_common.22} skc_refcnt@128={refcount_struct} skc_dontcopy_end@132=[0]4 -@132=|{sock_common.25}
sock_common.0 8 union  skc_addrpair@0=8 -@0={sock_common.0.1}
sock_common.0.1 8  skc_daddr@0=4 skc_rcv_saddr@4=4
sock_common.1 4 union  skc_hash@0=4 skc_u16hashes@0=[2]2
sock_common.2 4 union  skc_portpair@0=4 -@0={sock_common.2.1}
sock_common.2.1 4  skc_dport@0=2 skc_num@2=2
sock_common.11 16 union  skc_bind_node@0={hlist_node} skc_portaddr_node@0={hlist_node}
sock_common.skc_net 8  net@0=*net
in6_addr 16  in6_u@0=|{in6_addr.in6_u}
in6_addr.in6_u 16 union  u6_addr8@0=[16]1 u6_addr16@0=[8]2 u6_addr32@0=[4]4
sock_common.17 8 union  skc_flags@0=8 skc_listener@0=*sock skc_tw_dr@0=*inet_timewait_death_row
sock_common.19 16 union  skc_node@0={hlist_node} skc_nulls_node@0={hlist_nulls_node}
hlist_nulls_node 16  next@0=*hlist_nulls_node pprev@8=*
sock_common.22 4 union  skc_incoming_cpu@0=4 skc_rcv_wnd@0=4 skc_tw_rcv_nxt@0=4
sock_common.25 4 union  skc_rxhash@0=4 skc_window_clamp@0=4 skc_tw_snd_nxt@0=4
linux_binprm 472  vma@0=*vm_area_struct vma_pages@8=8 argmin@16=8 mm@24=*mm_struct old_mm@32=*mm_struct
  user_ns@40=*user_namespace p@48=8 have_execfd@448:1=4 execfd_creds@449:1=4 secureexec@450:1=4
  point_of_no_return@451:1=4 comm_from_dentry@452:1=4 is_check@453:1=4 executable@64=*file interpreter@72=*file
  loader@80=*file file@88=*file cred@96=*cred unsafe@104=4 per_clear@108=4 argc@112=4 envc@116=4 filename@120=*
  interp@128=* fdpath@136=* -@144={binfmt_misc_bpf} interp_flags@184=4 execfd@188=4 exec@192=8
  rlim_stack@200={rlimit} buf@216=[256]1
binfmt_misc_bpf 40  bpf_interps@0=*list_head bpf_interp@8=* bpf_interp_file@16=*file bpf_interp_arg@24=*
  bpf_flags@32=8
rlimit 16  rlim_cur@0=8 rlim_max@8=8
file 176  f_lock@0={spinlock} f_mode@4=4 f_op@8=*file_operations f_mapping@16=*address_space private_data@24=*
  f_inode@32=*inode f_flags@40=4 f_iocb_flags@44=4 f_cred@48=*cred f_owner@56=*fown_struct -@64=|{file.10}
  -@80=|{file.11} f_pos@104=8 f_security@112=* f_wb_err@120=4 f_sb_err@124=4 f_ep@128=*hlist_head -@136=|{file.17}
  f_ref@168={file.f_ref}
file.10 16 union  f_path@0={path} __f_path@0={path}
path 16  mnt@0=*vfsmount dentry@8=*dentry
file.11 24 union  f_pos_lock@0={mutex} f_pipe@0=8
file.17 32 union  f_task_work@0={callback_head} f_llist@0={llist_node} f_ra@0={file_ra_state}
  f_freeptr@0={file.17.f_freeptr}
file_ra_state 32  start@0=8 size@8=4 async_size@12=4 ra_pages@16=4 order@20=2 mmap_miss@22=2 prev_pos@24=8
file.17.f_freeptr 8  v@0=8
file.f_ref 8  refcnt@0={mutex.owner}
dentry 192  d_flags@0=4 d_seq@4={seqcount_spinlock} d_hash@8={hlist_bl_node} d_parent@24=*dentry -@32=|{dentry.4}
  d_inode@48=*inode d_shortname@56=|{shortname_store} d_op@96=*dentry_operations d_sb@104=*super_block d_time@112=8
  d_fsdata@120=* d_lockref@128={lockref} d_lru@136={list_head} d_sib@152={hlist_node} d_children@168={hlist_head}
  -@176=|{dentry.15}
hlist_bl_node 16  next@0=*hlist_bl_node pprev@8=*
dentry.4 16 union  __d_name@0={qstr} d_name@0={qstr}
qstr 16  -@0=|{qstr.0} name@8=*
qstr.0 8 union  -@0={qstr.0.0} hash_len@0=8
qstr.0.0 8  hash@0=4 len@4=4
shortname_store 40 union  string@0=[40]1 words@0=[5]8
lockref 8  -@0=|{lockref.0}
lockref.0 8 union  lock_count@0=8 -@0={lockref.0.1}
lockref.0.1 8  lock@0={spinlock} count@4=4
dentry.15 16 union  d_alias@0={hlist_node} d_in_lookup_hash@0={hlist_bl_node} d_rcu@0={callback_head}
  waiters@0=*completion_list
socket 128  state@0=4 type@4=2 flags@8=8 file@16=*file sk@24=*sock ops@32=*proto_ops wq@64={socket_wq}
socket_wq 64  wait@0={wait_queue_head} fasync_list@24=*fasync_struct flags@32=8 rcu@40={callback_head}
vm_area_struct 192  -@0=|{vm_area_struct.0} vm_mm@16=*mm_struct vm_page_prot@24={pgprot} -@32=|{vm_area_struct.3}
  vm_lock_seq@40=4 __vm_anon_pgoff_lo@44=4 anon_vma_chain@48={list_head} anon_vma@64=*anon_vma
  vm_ops@72=*vm_operations_struct vm_pgoff@80=8 vm_file@88=*file vm_private_data@96=*
  swap_readahead_info@104={mutex.owner} vm_policy@112=*mempolicy numab_state@120=*vma_numab_state
  vm_refcnt@128={refcount_struct} __vm_anon_pgoff_hi@132=4 shared@136={vm_area_struct.shared}
  vm_userfaultfd_ctx@168={vm_userfaultfd_ctx} pfnmap_track_ctx@176=*pfnmap_track_ctx
vm_area_struct.0 16 union  -@0={vm_area_struct.0.0} vm_freeptr@0={file.17.f_freeptr}
vm_area_struct.0.0 16  vm_start@0=8 vm_end@8=8
pgprot 8  pgprot@0=8
vm_area_struct.3 8 union  vm_flags@0=8 flags@0={mm_struct.0.28.def_vma_flags}
vm_area_struct.shared 32  rb@0={rb_node} rb_subtree_last@24=8
vm_userfaultfd_ctx 8  ctx@0=*userfaultfd_ctx
sock 800  __sk_common@0={sock_common} __cacheline_group_begin__sock_write_rx@136=[0]1 sk_drops@136={qspinlock.0.val}
  sk_peek_off@140=4 sk_error_queue@144={sk_buff_head} sk_receive_queue@168={sk_buff_head}
  sk_backlog@192={sock.sk_backlog} __cacheline_group_end__sock_write_rx@216=[0]1
  __cacheline_group_begin__sock_read_rx@216=[0]1 sk_rx_dst@216=*dst_entry sk_rx_dst_ifindex@224=4
  sk_rx_dst_cookie@228=4 sk_ll_usec@232=4 sk_napi_id@236=4 sk_busy_poll_budget@240=2 sk_prefer_busy_poll@242=1
  sk_userlocks@243=1 sk_rcvbuf@244=4 sk_filter@248=*sk_filter -@256=|{sock.19} sk_data_ready@264=* sk_rcvtimeo@272=8
  sk_rcvlowat@280=4 __cacheline_group_end__sock_read_rx@284=[0]1 __cacheline_group_begin__sock_read_rxtx@284=[0]1
  sk_err@284=4 sk_socket@288=*socket sk_memcg@296=*mem_cgroup sk_policy@304=[2]*xfrm_policy
  __cacheline_group_end__sock_read_rxtx@320=[0]1 __cacheline_group_begin__sock_write_rxtx@320=[0]1
  sk_lock@320={sock.sk_lock} sk_reserved_mem@352=4 sk_forward_alloc@356=4 sk_tsflags@360=4
  __cacheline_group_end__sock_write_rxtx@364=[0]1 __cacheline_group_begin__sock_write_tx@364=[0]1
  sk_write_pending@364=4 sk_omem_alloc@368={qspinlock.0.val} sk_err_soft@372=4 sk_wmem_queued@376=4
  sk_wmem_alloc@380={refcount_struct} sk_tsq_flags@384=8 -@392=|{sock.43} sk_write_queue@400={sk_buff_head}
  sk_frag@424={page_frag} -@440=|{sock.46} sk_pacing_rate@480=8 sk_zckey@488={qspinlock.0.val}
  sk_tskey@492={qspinlock.0.val} sk_tx_queue_mapping_jiffies@496=8 __cacheline_group_end__sock_write_tx@504=[0]1
  __cacheline_group_begin__sock_read_tx@504=[0]1 sk_dst_pending_confirm@504=4 sk_pacing_status@508=4
  sk_max_pacing_rate@512=8 sk_sndtimeo@520=8 sk_priority@528=4 sk_mark@532=4 sk_uid@536={task_struct.loginuid}
  sk_protocol@540=2 sk_type@542=2 sk_dst_cache@544=*dst_entry sk_route_caps@552=8 sk_validate_xmit_skb@560=*
  sk_gso_type@568=2 sk_gso_max_segs@570=2 sk_gso_max_size@572=4 sk_allocation@576=4 sk_txhash@580=4 sk_sndbuf@584=4
  sk_pacing_shift@588=1 sk_use_task_frag@589=1 __cacheline_group_end__sock_read_tx@590=[0]1 sk_gso_disabled@4720:1=1
  sk_kern_sock@4721:1=1 sk_no_check_tx@4722:1=1 sk_no_check_rx@4723:1=1 sk_shutdown@591=1 sk_lingertime@592=8
  sk_prot_creator@600=*proto sk_callback_lock@608={rwlock} sk_ack_backlog@616=4 sk_max_ack_backlog@620=4
  sk_ino@624=8 sk_peer_lock@632={spinlock} sk_bind_phc@636=4 sk_peer_pid@640=*pid sk_peer_cred@648=*cred
  sk_stamp@656=8 sk_disconnects@664=4 -@668=|{sock.91} sk_clockid@669=1 sk_txtime_deadline_mode@5360:1=1
  sk_txtime_report_errors@5361:1=1 sk_txtime_unused@5362:6=1 sk_bpf_cb_flags@671=1 sk_user_data@672=*
  sk_security@680=* sk_cgrp_data@688={sock_cgroup_data} sk_state_change@704=* sk_write_space@712=*
  sk_error_report@720=* sk_backlog_rcv@728=* sk_destruct@736=* sk_reuseport_cb@744=*sock_reuseport
  sk_bpf_storage@752=*bpf_local_storage sk_drop_counters@760=*numa_drop_counters -@768=|{sock.108}
  ns_tracker@784={bpf_array.4.0.__empty_value} sk_user_frags@784={xarray}
sk_buff_head 24  -@0=|{sk_buff_head.0} qlen@16=4 lock@20={spinlock}
sk_buff_head.0 16 union  -@0={sk_buff_head.0.0} list@0={sk_buff_list}
sk_buff_head.0.0 16  next@0=*sk_buff prev@8=*sk_buff
sk_buff_list 16  next@0=*sk_buff prev@8=*sk_buff
sock.sk_backlog 24  rmem_alloc@0={qspinlock.0.val} len@4=4 head@8=*sk_buff tail@16=*sk_buff
sock.19 8 union  sk_wq@0=*socket_wq sk_wq_raw@0=*socket_wq
sock.sk_lock 32  -@0=|{sock.sk_lock.0} wq@8={wait_queue_head}
sock.sk_lock.0 8 union  -@0={slock_owned} combined@0=8
slock_owned 8  owned@0=4 slock@4={spinlock}
sock.43 8 union  sk_send_head@0=*sk_buff tcp_rtx_queue@0={rb_root}
sock.46 40 union  sk_timer@0={timer_list} tcp_retransmit_timer@0={timer_list} mptcp_retransmit_timer@0={timer_list}
rwlock 8  raw_lock@0={qrwlock}
qrwlock 8  -@0=|{qrwlock.0} wait_lock@4={qspinlock}
qrwlock.0 4 union  cnts@0={qspinlock.0.val} -@0={qrwlock.0.1}
qrwlock.0.1 4  wlocked@0=1 __lstate@1=[3]1
sock.91 1 union  sk_txrehash@0=1 sk_scm_recv_flags@0=1 -@0={sock.91.2}
sock.91.2 1  sk_scm_credentials@0:1=1 sk_scm_security@1:1=1 sk_scm_pidfd@2:1=1 sk_scm_rights@3:1=1
  sk_scm_unused@4:4=1
sock_cgroup_data 16  cgroup@0=*cgroup classid@8=4 prioidx@12=2
sock.108 16 union  sk_rcu@0={callback_head} sk_freeptr@0={file.17.f_freeptr}
xarray 16  xa_lock@0={spinlock} xa_flags@4=4 xa_head@8=*
inode 560  i_mode@0=2 i_opflags@2=2 i_flags@4=4 i_acl@8=*posix_acl i_default_acl@16=*posix_acl
  i_uid@24={task_struct.loginuid} i_gid@28={inode.i_gid} i_op@32=*inode_operations i_sb@40=*super_block
  i_mapping@48=*address_space i_security@56=* i_ino@64=8 -@72=|{inode.12} i_rdev@76=4 i_size@80=8 i_atime_sec@88=8
  i_mtime_sec@96=8 i_ctime_sec@104=8 i_atime_nsec@112=4 i_mtime_nsec@116=4 i_ctime_nsec@120=4 i_generation@124=4
  i_lock@128={spinlock} i_bytes@132=2 i_blkbits@134=1 i_write_hint@135=1 i_blocks@136=8
  i_state@144={inode_state_flags} i_rwsem@152={rw_semaphore} dirtied_when@184=8 dirtied_time_when@192=8
  i_hash@200={hlist_node} i_io_list@216={list_head} i_wb@232=*bdi_writeback i_wb_frn_winner@240=4
  i_wb_frn_avg_time@244=2 i_wb_frn_history@246=2 i_lru@248={list_head} i_sb_list@264={list_head}
  i_wb_list@280={list_head} -@296=|{inode.40} i_version@312={mutex.owner} i_sequence@320={mutex.owner}
  i_count@328={qspinlock.0.val} i_dio_count@332={qspinlock.0.val} i_writecount@336={qspinlock.0.val}
  i_readcount@340={qspinlock.0.val} -@344=|{inode.47} i_flctx@352=*file_lock_context i_data@360={address_space}
  -@512=|{inode.50} -@528=|{inode.51} i_fsnotify_mask@536=4 i_fsnotify_marks@544=*fsnotify_mark_connector
  i_private@552=*
inode.i_gid 4  val@0=4
inode.12 4 union  i_nlink@0=4 __i_nlink@0=4
inode_state_flags 4  __state@0=4
inode.40 16 union  i_dentry@0={hlist_head} i_rcu@0={callback_head}
inode.47 8 union  i_fop@0=*file_operations free_inode@0=*
address_space 152  host@0=*inode i_pages@8={xarray} invalidate_lock@24={rw_semaphore} gfp_mask@56=4
  i_mmap_writable@60={qspinlock.0.val} i_mmap@64={rb_root_cached} nrpages@80=8 writeback_index@88=8
  a_ops@96=*address_space_operations flags@104=8 wb_err@112=4 i_private_lock@116={spinlock}
  i_mmap_rwsem@120={rw_semaphore}
inode.50 16 union  i_devices@0={list_head} i_linklen@0=4
inode.51 8 union  i_pipe@0=*pipe_inode_info i_cdev@0=*cdev i_link@0=* i_dir_seq@0=4
skb_shared_info 320  flags@0=1 meta_len@1=1 nr_frags@2=1 tx_flags@3=1 gso_size@4=2 gso_segs@6=2 frag_list@8=*sk_buff
  -@16=|{skb_shared_info.7} gso_type@24=4 tskey@28=4 dataref@32={qspinlock.0.val} -@40=|{skb_shared_info.11}
  frags@48=[17]{skb_frag}
skb_shared_info.7 8 union  hwtstamps@0={skb_shared_hwtstamps} xsk_meta@0={xsk_tx_metadata_compl}
skb_shared_hwtstamps 8  -@0=|{skb_shared_hwtstamps.0}
skb_shared_hwtstamps.0 8 union  hwtstamp@0=8 netdev_data@0=*
xsk_tx_metadata_compl 8  tx_timestamp@0=*
skb_shared_info.11 8 union  -@0={skb_shared_info.11.0} destructor_arg@0=*
skb_shared_info.11.0 8  xdp_frags_size@0=4 xdp_frags_truesize@4=4
skb_frag 16  netmem@0=8 len@8=4 offset@12=4
pt_regs 168  r15@0=8 r14@8=8 r13@16=8 r12@24=8 bp@32=8 bx@40=8 r11@48=8 r10@56=8 r9@64=8 r8@72=8 ax@80=8 cx@88=8
  dx@96=8 si@104=8 di@112=8 orig_ax@120=8 ip@128=8 -@136=|{pt_regs.17} flags@144=8 sp@152=8 -@160=|{pt_regs.20}
pt_regs.17 8 union  cs@0=2 csx@0=8 fred_cs@0={fred_cs}
fred_cs 8  cs@0:16=8 sl@16:2=8 wfe@18:1=8
pt_regs.20 8 union  ss@0=2 ssx@0=8 fred_ss@0={fred_ss}
fred_ss 8  ss@0:16=8 sti@16:1=8 swevent@17:1=8 nmi@18:1=8 vector@32:8=8 type@48:4=8 enclave@56:1=8 l@57:1=8
  nested@58:1=8 insnlen@60:4=8
bpf_cpumask 1032  cpumask@0={cpumask} usage@1024={refcount_struct}
"""
