import torch

from mmcsal.training.evidence.dynamics import Dynamics


def test_the_mean_is_over_the_times_that_a_sample_was_seen():
    dynamics = Dynamics(4)
    dynamics.add(torch.tensor([2, 0]), torch.tensor([-1.0, -3.0]))
    dynamics.add(torch.tensor([2, 3]), torch.tensor([-2.0, -0.5]))
    assert dynamics.num_seen_N.tolist() == [1, 0, 2, 1]
    assert dynamics.mean_log_p_N[[0, 2, 3]].tolist() == [-3.0, -1.5, -0.5]
    assert dynamics.mean_log_p_N[1].isnan()


def test_it_goes_on_from_its_state_and_leaves_the_state_alone():
    dynamics = Dynamics(2)
    dynamics.add(torch.tensor([0]), torch.tensor([-1.0]))
    state = dynamics.state()
    resumed = Dynamics(2)
    resumed.load_state(state)
    resumed.add(torch.tensor([0]), torch.tensor([-3.0]))
    assert (resumed.mean_log_p_N[0], dynamics.mean_log_p_N[0]) == (-2.0, -1.0)
